"""Layer 1, the admin's word: ``opt-out``, ``opt-out.d`` and ``policy.d``, of which the strictest counts.

Whatever is wrong with a file of the admin's denies every tool, with the line.
"""

from __future__ import annotations

from .eyes import ABSENT, DIRECTORY, FILE, Eyes
from .facts import MACHINE, Fact
from .toml_lines import Mistake, kind, line_of, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-")


def is_tool_name(name: str) -> bool:
    """``[a-z0-9][a-z0-9._-]{0,63}``."""
    return 0 < len(name) <= 64 and name[0] not in "._-" and _NAME.issuperset(name)


class Machine:
    """What stands in the machine directories."""

    def __init__(self) -> None:
        self.looked: list[str] = []
        self.everything: list[Fact] = []
        self.tools: dict[str, Fact] = {}
        self.policies: list[Policy] = []
        #: A ``policy.d`` has something in it, whatever it is.
        self.has_policies = False

    def facts(self, tool: str) -> list[Fact]:
        """The facts about ``tool``: one at least, so that an explanation can say where was looked."""
        facts = list(self.everything)
        if tool in self.tools:
            facts.append(self.tools[tool])
        for policy in self.policies:
            denial = policy.denial(tool)
            if denial:
                facts.append(denial)
        if not facts:
            looked = " or ".join(self.looked) or "opt-out"
            number = len(self.policies)
            policies = f"{number or 'no'} polic{'y' if number < 2 else 'ies'} against {tool}"
            facts.append(Fact(MACHINE, None, "-", f"no {looked}, {policies}"))
        return facts

    @property
    def installed_manifests_only(self) -> bool:
        """Only the admin's and the packages' manifests count (``manifests = "installed"``)."""
        return any(policy.installed for policy in self.policies)

    @property
    def no_start_on_demand(self) -> bool:
        """No daemon is started for the asking (``on_demand = "off"``)."""
        return any(policy.on_demand_off for policy in self.policies)

    def _deny(self, source: str, detail: str) -> None:
        self.everything.append(Fact(MACHINE, False, source, detail))


def read(directories: Iterable[str], uid: int | None, eyes: Eyes) -> Machine:
    """Reads each machine directory. A policy that belongs neither to root nor to ``uid`` denies."""
    machine = Machine()
    for directory in directories:
        opt_out = f"{directory}/opt-out"
        # The file denies by being there, whatever it is or contains.
        if eyes.look(opt_out).kind == ABSENT:
            machine.looked.append(opt_out)
        else:
            machine._deny(opt_out, "exists")
        _per_tool(machine, f"{directory}/opt-out.d", eyes)
        _policies(machine, f"{directory}/policy.d", uid, eyes)
    return machine


def _per_tool(machine: Machine, directory: str, eyes: Eyes) -> None:
    found = eyes.look(directory)
    if found.kind == DIRECTORY:
        for name in found.names:
            source = f"{directory}/{name}"
            if is_tool_name(name):
                machine.tools.setdefault(name, Fact(MACHINE, False, source, "exists"))
            elif not name.startswith(".") and not name.endswith("~"):
                machine._deny(source, "names no tool")
    elif found.kind != ABSENT:
        machine._deny(directory, found.why)


def _policies(machine: Machine, directory: str, uid: int | None, eyes: Eyes) -> None:
    found = eyes.look(directory)
    if found.kind == ABSENT:
        return
    machine.has_policies = found.kind != DIRECTORY or bool(found.names)
    if found.kind != DIRECTORY:
        machine._deny(directory, found.why)
        return
    files = [name for name in found.names if name.endswith(".toml") and not name.startswith(".")]
    for path in [directory, *(f"{directory}/{name}" for name in files)]:
        owner = eyes.owner(path)
        if owner is not None and owner not in (0, uid) and uid is not None:
            machine._deny(path, f"belongs to uid {owner}, neither to root nor to uid {uid}")
            continue
        if path == directory:
            continue
        file = eyes.look(path)
        policy = Policy(path, file.text if file.kind == FILE else "")
        if file.kind == FILE:
            policy.read()
        else:
            policy.off(None, f"cannot be read: {file.why}")
        machine.everything.extend(policy.everything)
        machine.policies.append(policy)


_KEYS = ("telemetry", "tools", "destinations", "manifests", "on_demand", "locked")


class Policy:
    """What one file of ``policy.d`` says. It can only narrow."""

    def __init__(self, source: str, text: str) -> None:
        self.source = source
        self.text = text
        #: Every tool is off, or a reason why the file cannot be obeyed.
        self.everything: list[Fact] = []
        self.deny: list[str] = []
        self.allow_only: list[str] | None = None
        self.installed = False
        self.on_demand_off = False

    def read(self) -> None:
        """Reads the text."""
        try:
            document = parse(self.text)
        except Mistake as mistake:
            self.off(mistake.line, mistake.message)
            return
        for key, value in sorted(document.items()):
            if key == "telemetry" and value == "off":
                self.off((key,), 'telemetry = "off"')
            elif key == "manifests" and value == "installed":
                self.installed = True
            elif key == "on_demand" and value == "off":
                self.on_demand_off = True
            elif key == "tools" and isinstance(value, dict):
                self._tools(value)
            elif key == "destinations" and isinstance(value, dict):
                self._destinations(value)
            elif key == "locked":
                self._words((key,), value)
            elif key in _KEYS:
                self.off((key,), f"{key}: not what it can be, found {kind(value)}")
            else:
                self.off((key,), f"{key}: unknown key")

    def _tools(self, table: dict[str, Any]) -> None:
        for key, value in sorted(table.items()):
            way = ("tools", key)
            if key not in ("deny", "allow_only"):
                self.off(way, f"tools.{key}: unknown key")
                continue
            words = self._words(way, value)
            for number, word in words:
                if not is_tool_name(word):
                    self.off((*way, number), f"tools.{key}: names no tool")
            if key == "deny":
                self.deny = [word for _, word in words]
            else:
                if not words:
                    self.off(way, "tools.allow_only: no tool is allowed")
                self.allow_only = [word for _, word in words]

    def _destinations(self, table: dict[str, Any]) -> None:
        # Where events go is the daemon's to say; what is wrong here denies all the same.
        for key, value in sorted(table.items()):
            way = ("destinations", key)
            if key != "allow":
                self.off(way, f"destinations.{key}: unknown key")
                continue
            for number, word in self._words(way, value):
                if not _is_address(word):
                    self.off((*way, number), "destinations.allow: expected an address like https://host:port/path")

    def _words(self, way: tuple[str, ...], found: object) -> list[tuple[int, str]]:
        name = ".".join(way)
        if not isinstance(found, list):
            self.off(way, f"{name}: expected a list of strings, found {kind(found)}")
            return []
        for number, word in enumerate(found):
            if not isinstance(word, str):
                self.off((*way, number), f"{name}: expected a list of strings, found {kind(word)}")
        return [(number, word) for number, word in enumerate(found) if isinstance(word, str)]

    def denial(self, tool: str) -> Fact | None:
        """What this file says against ``tool``."""
        if tool in self.deny:
            return self._fact(("tools", "deny", self.deny.index(tool)), f"tools.deny names {tool}")
        # Of nothing at all is said that everything is off.
        if self.allow_only and tool not in self.allow_only:
            return self._fact(("tools", "allow_only"), f"tools.allow_only does not name {tool}")
        return None

    def off(self, at: tuple[str | int, ...] | int | None, detail: str) -> None:
        """Denies every tool."""
        self.everything.append(self._fact(at, detail))

    def _fact(self, at: tuple[str | int, ...] | int | None, detail: str) -> Fact:
        text = self.text
        line = (lambda way=at: line_of(text, way)) if isinstance(at, tuple) else at
        return Fact(MACHINE, False, self.source, detail, line)


def _is_address(text: str) -> bool:
    """``http(s)://host[:port][/path]``, plainly one thing: no credentials, dots or escapes among the segments."""
    if not all("!" <= letter <= "~" and letter not in '\\"<>^`' for letter in text):
        return False
    scheme, found, rest = text.partition("://")
    if not found or scheme.lower() not in ("http", "https"):
        return False
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    host, path = rest[:end], rest[end:].split("?")[0].split("#")[0]
    before, colon, port = host.rpartition(":")
    if colon and "]" not in port:
        digits = port[1:] if port.startswith("+") else port
        if not (digits.isascii() and digits.isdigit() and int(digits) < 65536):
            return False
        host = before
    bracketed = host.startswith("[") and host.endswith("]")
    if not host.rstrip(".") or "@" in host or "%" in host or (":" in host and not bracketed):
        return False
    path = path.removeprefix("/").removesuffix("/")
    return not path or all(part and part.strip(".") and "%" not in part for part in path.split("/"))
