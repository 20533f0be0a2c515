"""A tool's own command tree, taken from what it is built with: a click group, a typer app, an argparse parser.

Nothing of these libraries is imported here: whoever hands over such an object has done it. A command that is loaded
lazily is asked for only if the command line goes that way, for then the tool loads it itself.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def vocabulary(cli: Any, argv: Sequence[str]) -> dict[str, Any]:
    """The vocabulary of ``cli``, as far as ``argv`` needs it.

    Commands beside the way of ``argv`` are there by name, with nothing below.
    """
    if isinstance(cli, dict):
        return cli
    if hasattr(cli, "registered_commands") and hasattr(cli, "registered_groups"):
        # typer: the click command is built from the app each time.
        cli = sys.modules["typer.main"].get_command(cli)
    if hasattr(cli, "_actions") and hasattr(cli, "prefix_chars"):
        return _of_parser(cli)
    if hasattr(cli, "params") and hasattr(cli, "make_context"):
        return _of_command(cli, argv, None)
    return {}


def _of_command(command: Any, argv: Sequence[str], parent: Any) -> dict[str, Any]:
    context = command.context_class(command, info_name=command.name or "", parent=parent)
    level: dict[str, Any] = {}
    for parameter in command.params:
        if getattr(parameter, "param_type_name", "") == "option":
            takes = _takes(parameter)
            for name in (*parameter.opts, *parameter.secondary_opts):
                level[name] = takes
    for name in command.get_help_option_names(context):
        level.setdefault(name, 0)
    if hasattr(command, "list_commands") and hasattr(command, "get_command"):
        for name in command.list_commands(context):
            if isinstance(name, str) and not name.startswith("-"):
                level[name] = {}
        if argv and argv[0] in level and level[argv[0]] == {}:
            below = command.get_command(context, argv[0])
            if below is not None:
                level[argv[0]] = _of_command(below, argv[1:], context)
    return level


def _takes(option: Any) -> Any:
    if getattr(option, "is_flag", False) or getattr(option, "count", False):
        return 0
    # An option whose value may be left out, or that takes any number.
    if getattr(option, "_flag_needs_value", False) or option.nargs < 0:
        return None
    if option.nargs != 1:
        return option.nargs
    # Of an enumeration click takes the names, typer the values.
    choices = getattr(getattr(option, "type", None), "choices", None)
    if choices:
        return _values(getattr(choice, "name", choice) for choice in choices)
    choices = getattr(getattr(option, "type_descriptor", None), "choices", None)
    if choices:
        return _values(getattr(choice, "value", choice) for choice in choices)
    return 1


def _of_parser(parser: Any) -> dict[str, Any]:
    level: dict[str, Any] = {}
    for action in parser._actions:
        if action.option_strings:
            takes: Any
            if isinstance(action.nargs, int):
                takes = action.nargs
            elif action.nargs is not None:
                takes = None
            elif action.choices:
                takes = _values(action.choices)
            else:
                takes = 1
            for name in action.option_strings:
                level[name] = takes
        elif isinstance(action.choices, dict):
            for name, below in action.choices.items():
                if hasattr(below, "_actions") and not name.startswith("-"):
                    level[name] = _of_parser(below)
    return level


def _values(choices: Iterable[object]) -> dict[str, list[str]]:
    """Public values: words that the tool's authors wrote down. Free text among them is none."""
    words = [word for word in choices if isinstance(word, str) and 0 < len(word) <= 64 and _WORD.issuperset(word)]
    return {"values": words}
