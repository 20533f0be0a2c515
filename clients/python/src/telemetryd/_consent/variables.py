"""Layer 2: variables of the calling process. One denies by being present, whatever its value."""

from __future__ import annotations

from .facts import ENVIRONMENT, Fact

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._manifest import Variable

#: Denies every tool.
DO_NOT_TRACK = "DO_NOT_TRACK"

_SET = "is set: an environment variable denies by being present"


def facts(environment: Mapping[str, str], named: list[Variable]) -> list[Fact]:
    """What the variables say about a tool whose manifest names ``named``: one fact at least."""
    found = []
    if DO_NOT_TRACK in environment:
        found.append(Fact(ENVIRONMENT, False, DO_NOT_TRACK, _SET))
    for variable in named:
        value = environment.get(variable.name)
        if value is None:
            continue
        detail = _denies(variable, value)
        if detail:
            found.append(Fact(ENVIRONMENT, False, variable.name, detail))
    if not found:
        names = [DO_NOT_TRACK, *(variable.name for variable in named if variable.name != DO_NOT_TRACK)]
        found.append(Fact(ENVIRONMENT, None, "-", f"no denial in {', '.join(names)}"))
    return found


def _denies(variable: Variable, value: str) -> str | None:
    """Why this value denies, if it does. The value itself is never said."""
    if variable.equals is not None:
        return f"is {variable.equals}" if value == variable.equals else None
    if variable.unless is not None:
        exempt = variable.unless
        return None if value in exempt else f"is set to something other than {' or '.join(exempt)}"
    return _SET
