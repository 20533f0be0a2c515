"""argparse: parsing begins the record of a command, the end of the process ends it.

How a process ends is seen where it says so: ``sys.exit``, an exception that nobody catches. A tool that ends by
``raise SystemExit`` or by coming to its last line does not say so, and its record has no ``exit_status``;
``with telemetry.command(parser):`` around its work knows it in any case.
"""

from __future__ import annotations

import argparse
import sys

from ._record import SUBCOMMAND, Recording, show_notice, status_of, status_of_code
from ._user_commands import ABOUT, COMMANDS, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from ._telemetry import Telemetry

#: The record of this process's command, until it ends.
_recording: list[Recording] = []
_watching: list[bool] = []


def attach_parser(telemetry: Telemetry, parser: Any, event: str, subcommand: bool) -> None:
    """Attaches ``telemetry`` to a parser: the one whose ``parse_args`` the tool calls."""
    parse = parser.parse_known_args
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if subcommand and groups and SUBCOMMAND not in groups[0].choices:
        _add_subcommand(telemetry, groups[0])

    def parse_known_args(args: Any = None, namespace: Any = None) -> Any:
        argv = [str(word) for word in (sys.argv[1:] if args is None else args)]
        if subcommand and not groups and argv[:1] == [SUBCOMMAND] and argv[1:] in [[word] for word in COMMANDS]:
            parser.exit(run(telemetry, argv[1]))
        if argv[:1] != [SUBCOMMAND] and not _recording:
            show_notice(telemetry)
            _recording.append(Recording(telemetry, parser, argv, event))
            _watch()
        return parse(args, namespace)

    parser.parse_known_args = parse_known_args


def _add_subcommand(telemetry: Telemetry, group: Any) -> None:
    class Run(argparse.Action):
        def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
            parser.exit(run(telemetry, values))

    below = group.add_parser(SUBCOMMAND, help=ABOUT, description=ABOUT)
    about = ", ".join(f"{name}: {about}" for name, about in COMMANDS.items())
    below.add_argument("action", action=Run, choices=list(COMMANDS), help=about)


def _watch() -> None:
    """Listens, once a process, for how it ends."""
    if _watching:
        return
    _watching.append(True)
    import atexit

    leave, excepthook = sys.exit, sys.excepthook

    def exit(status: Any = None, /) -> NoReturn:
        for recording in _recording:
            recording.status = status_of_code(status)
        leave(status)

    def uncaught(kind: Any, raised: Any, traceback: Any) -> Any:
        for recording in _recording:
            recording.status = status_of(raised)
        return excepthook(kind, raised, traceback)

    sys.exit, sys.excepthook = exit, uncaught
    atexit.register(_ended)


def _ended() -> None:
    while _recording:
        _recording.pop().report()
