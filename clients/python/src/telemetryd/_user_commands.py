"""``mytool telemetry on|off|status|show``: what a tool's user decides, and what they may want to see first.

These print, for they were asked to. What they change is the user's own word, which holds for every program that uses
telemetryd on this machine; nothing is reported about it, to anybody.
"""

from __future__ import annotations

import sys
import time

from . import _connect
from ._line import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._telemetry import Telemetry

#: What the subcommand is about, and each of its words.
ABOUT = "Decide what this tool reports about its use"
COMMANDS = {
    "on": "Allow it to report its use",
    "off": "Forbid it, and erase what was not sent yet",
    "status": "Tell whether it reports, and who decided",
    "show": "Show what it reports",
}

#: A person waits: seconds for the daemon's answer.
_PATIENCE = 2.0


def run(telemetry: Telemetry, action: str) -> int:
    """Does it, prints what came of it and returns the exit status."""
    try:
        if action in ("on", "off"):
            return _change(telemetry, action == "on")
        if action == "status":
            return _status(telemetry)
        return _show(telemetry)
    except OSError as error:
        return _failed(f"telemetry {action}: {error.strerror or error}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _failed(line: str) -> int:
    sys.stderr.write(f"error: {line}\n")
    return 1


def _change(telemetry: Telemetry, on: bool) -> int:
    from ._consent.toml_lines import Mistake

    path = f"{telemetry._look().places.config}/consent.toml"
    try:
        purged = remember(telemetry, on)
    except Mistake as mistake:
        return _failed(f"{path}:{mistake.line}: {mistake.message}; it is left as it was, and denies")
    _say(f"remembered in {path}")
    if purged:
        _say(f"erased {purged} event{'s' if purged != 1 else ''} that had not been sent")
    return _status(telemetry)


def remember(telemetry: Telemetry, on: bool) -> int:
    """Keeps the user's word, and tells a daemon. Returns how many events were erased."""
    from ._consent_edit import change, edited_toml

    places = telemetry._look().places
    if places.config is None:
        raise OSError("nothing says where your configuration is: neither XDG_CONFIG_HOME nor HOME is set")
    # The daemon first: it says how many events it erased, and would have erased them when it sees the file.
    purged = _tell_daemon(telemetry, "allow" if on else "deny")
    change(f"{places.config}/consent.toml", lambda text: edited_toml(text, ("tools", telemetry.name), on))
    if not on and places.state:
        from ._spool import Spool

        purged += Spool(places.state).purge(telemetry.name)
    return purged


def _tell_daemon(telemetry: Telemetry, action: str) -> int:
    """Tells a daemon, if one is there. Returns how many events it erased."""
    if not _connect.POSSIBLE:
        return 0
    until = time.monotonic() + _PATIENCE
    found = _connect.connect(telemetry._look().places.sockets, until)
    if isinstance(found, str):
        return 0
    try:
        line = f'{{"op":"consent","action":"{action}","tool":{text(telemetry.name)}}}\n'
        if not found.send(line.encode("ascii"), until):
            return 0
        import json

        answers = found.answers(1, until)
        return int(json.loads(answers[0]).get("purged", 0)) if answers else 0
    except (OSError, ValueError, TypeError):
        return 0
    finally:
        found.close()


def _status(telemetry: Telemetry) -> int:
    decision = telemetry.decision()
    if decision is None:
        return _failed("it cannot be told: " + "; ".join(telemetry.problems))
    fact = decision.decider
    line = f":{fact.line}" if fact.line else ""
    why = f"{decision.by}: {fact.source}{line}" + (f"  {fact.detail}" if fact.detail else "")
    _say(f"{telemetry.name}: telemetry is {'on' if decision.allowed else 'off'}  ({why})")
    return 0


def _show(telemetry: Telemetry) -> int:
    from ._consent.facts import LAYERS

    manifest = telemetry._look().manifest or telemetry.manifest
    if manifest is None:
        return _failed("there is no description of what it reports")
    if manifest.any_event:
        _say(f"{manifest.name} may report any event, with properties that it does not list")
    for event, properties in manifest.events.items():
        _say(event + (": with properties that it does not list" if event in manifest.any_property else ""))
        for name, rule in properties.items():
            how = "a command line, its values masked" if rule.get("mask") == "command" else rule["type"]
            how = "one of " + ", ".join(map(str, rule["enum"])) if rule.get("enum") else how
            about = f"  {rule['about']}" if rule.get("about") else ""
            _say(f"  {name}: {how}{about}")
    for key in ("controller", "contact", "policy_url", "purpose", "retention"):
        if isinstance(manifest.privacy.get(key), str):
            _say(f"{key.replace('_url', '')}: {manifest.privacy[key]}")
    _say("")
    decision = telemetry.decision()
    for fact in decision.chain if decision else ():
        word = "-" if fact.verdict is None else "allow" if fact.verdict else "deny"
        line = f":{fact.line}" if fact.line else ""
        decides = "  <- decides" if decision and fact is decision.decider else ""
        _say(f"{LAYERS[fact.layer]:<12} {word:<6} {fact.source}{line}  {fact.detail}{decides}")
    return _status(telemetry)
