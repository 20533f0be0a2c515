"""A manifest as a client needs it: who the tool is, what counts as an opt-out, and which properties may wait on
the disk. The daemon enforces all of it; a manifest that has anything wrong in it counts as none here too.
"""

from __future__ import annotations

from ._consent.facts import OPT_IN, OPT_OUT
from ._consent.machine import is_tool_name
from ._consent.toml_lines import Mistake, kind, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KEYS = frozenset(
    (
        "name about homepage destination consent notice notice_required opt_out_env project_files user_files "
        "identity context ci sample max_per_day privacy events map vocabulary"
    ).split()
)
_TYPES = frozenset(("string integer number boolean array object").split())
#: Names and files that one manifest may name of a kind.
_MAX_NAMED = 32

#: When something must be shown to the user before anything is collected.
NOT_REQUIRED, REQUIRED, BY_TOOL = "not required", "required", "by the tool"


class Variable:
    """A variable that denies: by being present, ``unless`` it has one of these values, or if it ``equals`` one."""

    __slots__ = ("equals", "name", "unless")

    def __init__(self, name: str, unless: list[str] | None = None, equals: str | None = None) -> None:
        self.name = name
        self.unless = unless
        self.equals = equals


class ToolFile:
    """A file of the tool's own in which somebody may have answered."""

    __slots__ = ("format", "key", "path")

    def __init__(self, path: str, format: str, key: tuple[str, ...]) -> None:
        self.path = path
        self.format = format
        self.key = key


class Manifest:
    """What a manifest says."""

    def __init__(self, text: str) -> None:
        """Reads the text; a :class:`Mistake` where anything is wrong with it."""
        document = parse(text)
        self.text = text
        for key in document:
            if key not in _KEYS:
                raise Mistake(1, f"{key}: unknown key")
        self.name = _string(document, "name") or ""
        if not is_tool_name(self.name):
            raise Mistake(1, "name: expected a string like [a-z0-9][a-z0-9._-]{0,63}")
        self.consent = _one_of(document, "consent", (OPT_IN, OPT_OUT))
        self.ci = _one_of(document, "ci", ("send", "skip"))
        self.notice_text = _string(document, "notice") or ""
        self.notice = _notice(document)
        self.variables = [_variable(item) for item in _list(document, "opt_out_env")]
        self.project_files = [_file(item, "project_files") for item in _list(document, "project_files")]
        self.user_files = [_file(item, "user_files") for item in _list(document, "user_files")]
        self.context = _context(document)
        self.privacy: dict[str, Any] = document.get("privacy", {})
        events = document.get("events")
        if events != "any" and not isinstance(events, dict):
            raise Mistake(1, 'events: expected "any" or a table')
        self.any_event = events == "any"
        #: By the event's name (which may hold one ``*``): by the property's name, its type and rules.
        self.events: dict[str, dict[str, dict[str, Any]]] = {}
        #: Events of which every property may pass, by the daemon's rules for values.
        self.any_property: set[str] = set()
        for name, event in (events if isinstance(events, dict) else {}).items():
            if not isinstance(event, dict) or not {"about", "properties"}.issuperset(event):
                raise Mistake(1, f"events.{name}: expected a table with about and properties")
            properties = event.get("properties", {})
            if properties == "any":
                self.any_property.add(name)
                properties = {}
            self.events[name] = _properties(name, properties)

    @property
    def may_register(self) -> bool:
        """A tool may not bring a manifest that is on by default without telling its user."""
        return self.consent == OPT_IN or self.notice != NOT_REQUIRED

    def properties(self, event: str) -> dict[str, dict[str, Any]] | None:
        """The properties that are listed for ``event``; ``None`` where the event is not listed."""
        found = self.listed_as(event)
        return None if found is None else self.events[found]

    def listed_as(self, event: str) -> str | None:
        """The name under which ``event`` is listed: its own, or the longest with a ``*`` that fits."""
        if event in self.events:
            return event
        fitting = [pattern for pattern in self.events if "*" in pattern and matches(pattern, event)]
        return max(fitting, key=len, default=None)


def matches(pattern: str, name: str) -> bool:
    """Whether ``name`` is what ``pattern``, with at most one ``*``, stands for."""
    before, star, after = pattern.partition("*")
    if not star:
        return pattern == name
    return len(name) >= len(before) + len(after) and name.startswith(before) and name.endswith(after)


def _string(document: dict[str, Any], key: str) -> str | None:
    value = document.get(key)
    if value is not None and not isinstance(value, str):
        raise Mistake(1, f"{key}: expected a string, found {kind(value)}")
    return value


def _one_of(document: dict[str, Any], key: str, words: tuple[str, str]) -> str:
    value = document.get(key, words[0])
    if value not in words:
        raise Mistake(1, f"{key}: expected {words[0]!r} or {words[1]!r}")
    return str(value)


def _list(document: dict[str, Any], key: str) -> list[Any]:
    value = document.get(key, [])
    if not isinstance(value, list) or len(value) > _MAX_NAMED:
        raise Mistake(1, f"{key}: expected a list of at most {_MAX_NAMED}")
    return value


def _notice(document: dict[str, Any]) -> str:
    required = document.get("notice_required", False)
    if required == "tool" or document.get("notice") == "tool":
        return BY_TOOL
    if not isinstance(required, bool):
        raise Mistake(1, 'notice_required: expected true, false or "tool"')
    return REQUIRED if required else NOT_REQUIRED


def _context(document: dict[str, Any]) -> frozenset[str] | None:
    value = document.get("context")
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise Mistake(1, "context: expected a list of strings")
    return frozenset(value)


def _variable(item: object) -> Variable:
    if isinstance(item, str):
        item = {"name": item}
    if not isinstance(item, dict) or not {"name", "unless", "equals"}.issuperset(item):
        raise Mistake(1, "opt_out_env: expected a name, or a table with name, unless or equals")
    name, unless, equals = item.get("name"), item.get("unless"), item.get("equals")
    if not isinstance(name, str) or not (name.isascii() and name.isidentifier()):
        raise Mistake(1, "opt_out_env: expected the name of a variable")
    conditional = unless is not None or equals is not None
    if (unless is not None and equals is not None) or (name == "DO_NOT_TRACK" and conditional):
        raise Mistake(1, "opt_out_env: either unless or equals, and neither for DO_NOT_TRACK")
    words = isinstance(unless, list) and all(isinstance(word, str) for word in unless)
    if (unless is not None and not words) or (equals is not None and not isinstance(equals, str)):
        raise Mistake(1, "opt_out_env: expected strings")
    return Variable(name, unless, equals)


def _file(item: object, place: str) -> ToolFile:
    if not isinstance(item, dict) or set(item) != {"path", "format", "key"}:
        raise Mistake(1, f"{place}: expected a table with path, format and key")
    path, format, key = item["path"], item["format"], item["key"]
    if not (isinstance(path, str) and isinstance(key, str) and format in ("yaml", "toml")):
        raise Mistake(1, f"{place}: expected strings, and a format of yaml or toml")
    below = path
    if place == "user_files":
        # Tools run by root keep what is a user's elsewhere in the machine's own state: dlt in /var/dlt.
        below = path[2:] if path.startswith("~/") else path[5:] if path.startswith("/var/") else ""
    parts = below.split("/")
    if below.startswith("~") or any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise Mistake(1, f"{place}: expected a path below the directory")
    way = tuple(key.split("."))
    if not all(way) or (format == "yaml" and len(way) > 1):
        raise Mistake(1, f"{place}: expected a dotted way to the key, of YAML one word")
    return ToolFile(path, format, way)


def _properties(event: str, table: object) -> dict[str, dict[str, Any]]:
    if not isinstance(table, dict):
        raise Mistake(1, f"events.{event}.properties: expected a table, found {kind(table)}")
    return dict(_leaves(event, "", table))


def _leaves(event: str, prefix: str, table: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """``properties.a.b = "integer"`` lists the property ``a.b``, as TOML writes dotted names."""
    leaves = []
    for name, rule in table.items():
        full = f"{prefix}{name}"
        if isinstance(rule, str):
            rule = {"type": rule}
        if isinstance(rule, dict) and isinstance(rule.get("type"), str):
            if rule["type"] not in _TYPES:
                raise Mistake(1, f"events.{event}.properties.{full}: unknown type")
            leaves.append((full, rule))
        elif isinstance(rule, dict) and rule:
            leaves.extend(_leaves(event, f"{full}.", rule))
        else:
            raise Mistake(1, f"events.{event}.properties.{full}: expected a type")
    return leaves
