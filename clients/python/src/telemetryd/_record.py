"""The record of a command: what was run (masked), how long it took, and how it ended."""

from __future__ import annotations

import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Any

    from ._telemetry import Telemetry

#: The subcommand by which a user decides; it is never recorded.
SUBCOMMAND = "telemetry"


class Recording:
    """Reports the command that runs inside its ``with`` block, when that ends; exceptions go their way."""

    def __init__(self, telemetry: Telemetry, cli: Any, argv: Sequence[str] | None, event: str) -> None:
        self.telemetry = telemetry
        self.cli = cli
        self.argv = [str(word) for word in (sys.argv[1:] if argv is None else argv)]
        self.event = event
        self.begun = time.monotonic()
        self.status: int | None = None

    def __enter__(self) -> Recording:
        self.begun = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, _: TracebackType | None) -> None:
        self.status = status_of(raised)
        self.report()

    def report(self) -> None:
        """Reports it. ``exit_status`` is left out where nobody can know it."""
        if self.argv[:1] == [SUBCOMMAND]:
            return
        properties: dict[str, Any] = {
            "command": self.telemetry.mask(self.argv, self.cli),
            "duration": round(time.monotonic() - self.begun, 3),
        }
        if self.status is not None:
            properties["exit_status"] = self.status
        self.telemetry.event(self.event, **properties)


def status_of(raised: BaseException | None) -> int:
    """The exit status that a process has when this ends it."""
    if raised is None:
        return 0
    if isinstance(raised, SystemExit):
        return status_of_code(raised.code)
    if isinstance(raised, KeyboardInterrupt):
        return 130
    # What click raises where it does not exit itself.
    code = getattr(raised, "exit_code", 1)
    return code if isinstance(code, int) else 1


def status_of_code(code: object) -> int:
    """The exit status that ``sys.exit(code)`` gives."""
    if code is None:
        return 0
    return code & 0xFF if isinstance(code, int) else 1


def show_notice(telemetry: Telemetry) -> None:
    """Shows the user the manifest's notice, if it was not shown yet."""
    text = telemetry.notice()
    if text and sys.stderr is not None:
        try:
            sys.stderr.write(f"{text.rstrip()}\n")
        except Exception:
            return
