"""The way of an event that consent has let through: into the daemon's socket, or into the spool where nobody answers.

What is here may raise; :class:`telemetryd.Telemetry` stands between it and the tool.
"""

from __future__ import annotations

import os
import time

from . import _connect, _line, _notice
from ._consent.facts import PROJECT, USER
from ._manifest import REQUIRED
from ._places import SYSTEM_SOCKET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._seen import Seen
    from ._telemetry import Telemetry

#: Until then, the sockets that did not take an event in time are not asked.
_wedged_until: dict[tuple[str, ...], float] = {}


def tell_denial(telemetry: Telemetry, seen: Seen) -> None:
    """A denial of the project erases what is queued of that project, and one in the user's own files is news to
    a machine-wide daemon, which never opens a home. Said once a process, unless the environment denies."""
    denial, told = seen.denial, seen.told
    seen.told = True
    if told or denial is None or denial.layer not in (PROJECT, USER) or not _connect.POSSIBLE:
        return
    sockets = seen.places.sockets
    projects = [""]
    if denial.layer == PROJECT:
        names = [_line.cut(telemetry.project, 256)] if telemetry.project else []
        projects = [f',"project":{_line.text(name)}' for name in names + seen.projects]
    elif not os.path.exists(SYSTEM_SOCKET):
        return
    else:
        sockets = [SYSTEM_SOCKET]
    until = time.monotonic() + telemetry.deadline
    found = _connect.connect(sockets, until)
    if isinstance(found, str):
        return
    try:
        deny = f'{{"op":"consent","action":"deny","tool":{_line.text(telemetry.name)}'
        found.send("".join(f"{deny}{project}}}\n" for project in projects).encode("ascii"), until)
    finally:
        found.close()


def hand_over(telemetry: Telemetry, seen: Seen, event: str, properties: dict[str, Any]) -> bool:
    sockets = seen.places.sockets
    outcome: _connect.Connection | str = _connect.WEDGED
    milliseconds, fraction = _line.now()
    id = _line.uuid7(milliseconds, fraction)
    if time.monotonic() >= _wedged_until.get(tuple(sockets), 0.0) and not _is_wedged(telemetry, seen):
        line = _event_line(telemetry, seen, event, _line.members(properties), f',"id":"{id}"')
        if len(line) > _line.MAX_LINE:
            return False
        # From here on the tool waits for somebody else.
        until = time.monotonic() + telemetry.deadline
        outcome = _connect.connect(sockets, until)
        if not isinstance(outcome, str):
            outcome = _say(telemetry, seen, outcome, line, until)
            if outcome == _connect.SENT:
                return True
        if outcome == _connect.WEDGED:
            _note_wedged(telemetry, seen)
    if outcome == _connect.FORBIDDEN:
        return False
    kept = _keep(telemetry, seen, event, properties, id, milliseconds)
    if outcome == _connect.NOBODY:
        _start_daemon(telemetry, seen)
    return kept


def _event_line(telemetry: Telemetry, seen: Seen, event: str, properties: str, more: str) -> bytes:
    from ._spool import claim

    if telemetry._constant is None:
        from ._context import context

        named = seen.manifest.context if seen.manifest else None
        facts = {
            name: fact for name, fact in context(telemetry._environment()).items() if named is None or name in named
        }
        telemetry._constant = f'"context":{_line.value(facts)}'
        if telemetry.version:
            telemetry._constant += f',"version":{_line.text(_line.cut(telemetry.version, 64))}'
    said = claim(seen.decision)
    return (
        f'{{"tool":{_line.text(telemetry.name)},"event":{_line.text(event)},{telemetry._constant}{said}{more},'
        f'"properties":{properties}}}\n'
    ).encode("ascii")


def _say(telemetry: Telemetry, seen: Seen, connection: _connect.Connection, line: bytes, until: float) -> str:
    try:
        project = telemetry.project or (seen.projects[0] if seen.projects else None)
        keys = "".join(
            f',"{name}":{_line.text(_line.cut(key, 256))}'
            for name, key in (("project", project), ("user", telemetry.user))
            if key
        )
        if telemetry.redirected:
            keys += ',"redirected":true'
        data = line[:-2] + f'{keys},"ack":"none"}}\n'.encode("ascii")
        machine_wide = connection.path == SYSTEM_SOCKET
        register = not machine_wide and registration(telemetry, seen)
        if register:
            # What stands behind it is judged by it, whether or not its answer is waited for.
            data = register + data
        if not connection.send(data, until):
            return _connect.WEDGED
        seen.register = False
        if not machine_wide:
            machine_wide = connection.peer_uid() not in (None, seen.places.uid)
        if machine_wide and seen.places.state:
            from ._spool import Spool

            Spool(seen.places.state).hand_over(connection, until)
        elif seen.places.state and not register:
            from ._start import replace_older

            no_start = seen.gathered.machine.no_start_on_demand
            replace_older(connection, seen.places.state, seen.places.environment, no_start, until)
        return _connect.SENT
    except (BlockingIOError, TimeoutError):
        return _connect.WEDGED
    except OSError:
        return _connect.NOBODY
    finally:
        connection.close()


def registration(telemetry: Telemetry, seen: Seen) -> bytes:
    """The line that tells a user's daemon the manifest that the tool brings. Needed once on a machine: the
    daemon keeps it where every later process finds it."""
    if not seen.register or not telemetry.manifest:
        return b""
    line = f'{{"op":"register","manifest":{_line.text(telemetry.manifest.text)}}}\n'.encode("ascii")
    return line if len(line) <= _line.MAX_LINE else b""


def _may_wait(telemetry: Telemetry, seen: Seen) -> bool:
    from ._context import in_ci
    from ._spool import may_wait

    manifest = seen.manifest
    if manifest is None or seen.places.state is None or telemetry.redirected:
        return False
    if manifest.notice == REQUIRED and not os.path.exists(_notice.marker(seen, telemetry.name)):
        return False
    environment = seen.places.environment
    if manifest.ci == "skip" and in_ci(environment):
        return False
    return may_wait(seen.decision, manifest, seen.gathered.machine.has_policies, environment)


def _keep(telemetry: Telemetry, seen: Seen, event: str, properties: dict[str, Any], id: str, milliseconds: int) -> bool:
    if not _may_wait(telemetry, seen) or seen.manifest is None:
        return False
    from ._spool import listed

    known = listed(properties, seen.manifest, event)
    if known is None:
        return False
    line = _event_line(telemetry, seen, event, known, f',"id":"{id}","time":{milliseconds}')
    if len(line) > _line.MAX_LINE:
        return False
    spool = _spool_of(telemetry, seen)
    if seen.register and telemetry.manifest:
        # Whoever takes the event over has to know what it is judged by.
        spool.bring(telemetry.name, telemetry.manifest.text)
    return bool(spool.append(telemetry.name, id, line))


def _spool_of(telemetry: Telemetry, seen: Seen) -> Any:
    from ._spool import Spool

    spool = getattr(seen, "spool", None)
    if spool is None:
        spool = Spool(seen.places.state or "")
        seen.spool = spool  # type: ignore[attr-defined]
    return spool


def _is_wedged(telemetry: Telemetry, seen: Seen) -> bool:
    return bool(seen.places.state) and _spool_of(telemetry, seen).wedged()


def _note_wedged(telemetry: Telemetry, seen: Seen) -> None:
    from ._spool import WEDGED_FOR

    _wedged_until[tuple(seen.places.sockets)] = time.monotonic() + WEDGED_FOR
    if _may_wait(telemetry, seen):
        _spool_of(telemetry, seen).note_wedged()


def _start_daemon(telemetry: Telemetry, seen: Seen) -> None:
    from . import _start

    environment = seen.places.environment
    wanted = _start.wanted(environment, seen.gathered.machine.no_start_on_demand)
    if not wanted or not seen.places.state or not _may_wait(telemetry, seen):
        return

    def answers() -> bool:
        found = _connect.connect(seen.places.sockets, time.monotonic() + telemetry.deadline)
        if isinstance(found, str):
            return found != _connect.NOBODY
        found.close()
        return True

    _start.start(seen.places.state, environment, answers)
