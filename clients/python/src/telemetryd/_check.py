"""Whether an event is what the manifest says: for a tool's tests."""

from __future__ import annotations

from ._manifest import Manifest, matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list, tuple),
    "object": (dict,),
}


def problems(event: dict[str, Any], manifest: str) -> Iterator[str]:
    """What the daemon would remove of ``event``, and why, a line each."""
    told = Manifest(manifest)
    name = event["event"]
    if told.any_event:
        return
    rules = told.properties(name)
    if rules is None:
        yield f"{name}: not listed"
        return
    if told.listed_as(name) in told.any_property:
        return
    for key, value in event["properties"].items():
        patterns = [pattern for pattern in rules if "*" in pattern and matches(pattern, key)]
        rule = rules.get(key) or rules.get(max(patterns, key=len, default=""))
        if rule is None:
            yield f"{name}: {key}: not listed"
            continue
        if value is None:
            continue
        kinds = _KINDS[rule["type"]]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            yield f"{name}: {key}: listed as {rule['type']}, is {type(value).__name__}"
        elif rule.get("enum") and value not in rule["enum"] and "else" not in rule:
            yield f"{name}: {key}: not one of {', '.join(map(str, rule['enum']))}"
