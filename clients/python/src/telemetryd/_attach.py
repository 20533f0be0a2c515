"""One line for a tool built with click, typer or argparse: the record of each command, and the subcommand by which
its user decides. Nothing of these libraries is imported before the tool has done it.
"""

from __future__ import annotations

import sys

from ._record import SUBCOMMAND, Recording, show_notice
from ._user_commands import ABOUT, COMMANDS, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._telemetry import Telemetry


def attach(telemetry: Telemetry, cli: Any, event: str, subcommand: bool) -> None:
    """Attaches ``telemetry`` to a click command, a typer app or an argparse parser."""
    if hasattr(cli, "registered_commands") and hasattr(cli, "registered_groups"):
        _typer(telemetry, cli, event, subcommand)
    elif hasattr(cli, "_actions") and hasattr(cli, "prefix_chars"):
        from ._attach_argparse import attach_parser

        attach_parser(telemetry, cli, event, subcommand)
    elif hasattr(cli, "main") and hasattr(cli, "params"):
        _click(telemetry, cli, event, subcommand)
    else:
        telemetry._problems.append(f"cannot attach to a {type(cli).__name__}")


def _recorded(telemetry: Telemetry, cli: Any, event: str, main: Callable[..., Any]) -> Callable[..., Any]:
    def recorded(*args: Any, **kwargs: Any) -> Any:
        argv = kwargs.get("args", args[0] if args else None)
        recording = Recording(telemetry, cli, argv, event)
        if recording.argv[:1] != [SUBCOMMAND]:
            show_notice(telemetry)
        with recording:
            return main(*args, **kwargs)

    return recorded


def _click(telemetry: Telemetry, command: Any, event: str, subcommand: bool) -> None:
    command.main = _recorded(telemetry, command, event, command.main)
    if not subcommand or not hasattr(command, "add_command"):
        return
    click = sys.modules["click"]
    group = click.Group(SUBCOMMAND, help=ABOUT)
    for name, about in COMMANDS.items():

        def callback(name: str = name) -> None:
            click.get_current_context().exit(run(telemetry, name))

        group.add_command(click.Command(name, callback=callback, help=about))
    if SUBCOMMAND not in getattr(command, "commands", {}):
        command.add_command(group)


def _typer(telemetry: Telemetry, app: Any, event: str, subcommand: bool) -> None:
    typer, core = sys.modules["typer"], sys.modules["typer.core"]

    def recording(cls: Any, base: type) -> type:
        parent: Any = cls if isinstance(cls, type) else base

        class Recorded(parent):  # type: ignore[misc]
            def main(self, *args: Any, **kwargs: Any) -> Any:
                return _recorded(telemetry, self, event, super().main)(*args, **kwargs)

        return Recorded

    is_group = bool(
        app.registered_callback or app.registered_groups or len(app.registered_commands) > 1 or app.info.callback
    )
    if not is_group:
        # One command without a name: a subcommand beside it would give it one.
        for command in app.registered_commands:
            command.cls = recording(command.cls, core.TyperCommand)
        return
    app.info.cls = recording(app.info.cls, core.TyperGroup)
    if app.registered_callback and isinstance(app.registered_callback.cls, type):
        app.registered_callback.cls = recording(app.registered_callback.cls, core.TyperGroup)
    if not subcommand or any(group.name == SUBCOMMAND for group in app.registered_groups):
        return
    below = typer.Typer(help=ABOUT, no_args_is_help=True)
    for name, about in COMMANDS.items():

        def command(name: str = name) -> None:
            raise typer.Exit(run(telemetry, name))

        # Its default is no option of the command.
        command.__signature__ = _NO_PARAMETERS()  # type: ignore[attr-defined]
        below.command(name, help=about)(command)
    app.add_typer(below, name=SUBCOMMAND)


def _NO_PARAMETERS() -> Any:
    import inspect

    return inspect.Signature()
