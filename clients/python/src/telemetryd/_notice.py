"""What a user has to be shown before anything is collected: handing the text over reports it as shown."""

from __future__ import annotations

import os
import time

from . import _connect, _line, _way
from ._consent.variables import DO_NOT_TRACK
from ._manifest import BY_TOOL, NOT_REQUIRED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._seen import Seen
    from ._telemetry import Telemetry


def marker(seen: Seen, tool: str) -> str:
    """Where it is remembered, for a user without a machine-wide daemon, that the notice was shown."""
    return f"{seen.places.state}/noticed/{tool}"


def notice(telemetry: Telemetry) -> str | None:
    if DO_NOT_TRACK in os.environ or telemetry.problems or not _connect.POSSIBLE:
        return None
    seen = telemetry._look()
    manifest = seen.manifest
    if manifest is None or manifest.notice in (NOT_REQUIRED, BY_TOOL) or not manifest.notice_text:
        return None
    if seen.denial is not None or not seen.places.state or os.path.exists(marker(seen, telemetry.name)):
        return None
    if not _report(telemetry, seen):
        path = marker(seen, telemetry.name)
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    return manifest.notice_text


def _report(telemetry: Telemetry, seen: Seen) -> bool:
    """Tells the daemon; ``False``: none has answered for it."""
    until = time.monotonic() + telemetry.deadline
    found = _connect.connect(seen.places.sockets, until)
    if isinstance(found, str):
        return False
    try:
        noticed = f'{{"op":"consent","action":"noticed","tool":{_line.text(telemetry.name)}}}\n'
        lines = _way.registration(telemetry, seen) + noticed.encode("ascii")
        number = lines.count(b"\n")
        if not found.send(lines, until):
            return False
        answers = found.answers(number, until)
        return len(answers) == number and b'"ok":true' in answers[-1]
    except OSError:
        return False
    finally:
        found.close()
