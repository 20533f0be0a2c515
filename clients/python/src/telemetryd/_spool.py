"""Where an event waits while no daemon answers. The format and its rules are in the project's ``docs/spool.md``.

Everything here may fail (a read-only home, a full disk): then the event is lost, and nothing else happens.
"""

from __future__ import annotations

import os
import stat
import time

from ._consent.facts import DEFAULT, INVOCATION, LAYERS, OPT_OUT, PROJECT
from ._line import LeftOut, cut, text, uuid7, value
from ._manifest import matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ._connect import Connection
    from ._consent.facts import Decision
    from ._manifest import Manifest

#: Events and bytes a user, and for how long, in milliseconds.
MAX_EVENTS, MAX_BYTES, MAX_AGE = 1_000, 1024 * 1024, 30 * 24 * 3600 * 1000
#: A counting file stops growing here.
_MAX_COUNT = 1024 * 1024
#: What was being written this long ago (seconds) was left by a process that died.
_LEFT_BEHIND = 3600
#: After a daemon did not take an event in time, the spool is used for so many seconds.
WEDGED_FOR = 30
#: Handed over to a machine-wide daemon at once.
_HANDED_OVER = 64 * 1024

_SUFFIX = ".ndjson"
_CAREFULLY = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_FLAGS = os.O_WRONLY | os.O_CREAT | _CAREFULLY


class Masked(str):
    """A command line that this client has masked: the only free text that may wait on the disk."""

    __slots__ = ()


def may_wait(decision: Decision, manifest: Manifest | None, has_policies: bool, environment: Mapping[str, str]) -> bool:
    """Whether consent is certain enough, without the daemon. The notice and CI are asked about elsewhere."""
    if manifest is None or has_policies or not decision.allowed:
        return False
    if os.geteuid() == 0 and "SUDO_UID" in environment:
        return False
    return decision.decider.layer != DEFAULT or manifest.consent == OPT_OUT


def claim(decision: Decision) -> str:
    """The ``consent`` member, where an allow that only the client can see is what counts."""
    fact = decision.decider
    if fact.verdict is not True or fact.layer not in (PROJECT, INVOCATION):
        return ""
    return f',"consent":{{"layer":"{LAYERS[fact.layer]}","verdict":"allow","source":{text(cut(fact.source, 256))}}}'


def listed(properties: Mapping[str, Any], manifest: Manifest, event: str) -> str | None:
    """The JSON of those properties that may wait on the disk; ``None`` where the event may not."""
    rules = manifest.events.get(event)
    if rules is None or "*" in event:
        return None
    parts: dict[str, Any] = {}
    for name, found in properties.items():
        if name in rules:
            _keep(parts, name, found, rules[name])
            continue
        fitting = [pattern for pattern in rules if "*" in pattern and matches(pattern, name)]
        pattern = max(fitting, key=len, default="")
        before, star, after = pattern.partition("*")
        if star:
            known = _public_key(name[len(before) : len(name) - len(after)], rules[pattern])
            if known is not None:
                _keep(parts, f"{before}{known}{after}", found, rules[pattern])
    kept = []
    for name, found in parts.items():
        try:
            kept.append(f"{text(name)}:{value(found)}")
        except LeftOut:
            continue
    return "{" + ",".join(kept) + "}"


def _public_key(key: str, rule: Mapping[str, Any]) -> str | None:
    """What may be kept of a key that the manifest leaves open."""
    keys = rule.get("keys")
    if not isinstance(keys, dict):
        return None
    prefixes = keys.get("prefix", [])
    if any(isinstance(prefix, str) and key.startswith(prefix) for prefix in prefixes):
        return key
    other = keys.get("else")
    return other if isinstance(other, str) else None


def _keep(parts: dict[str, Any], name: str, found: Any, rule: Mapping[str, Any]) -> None:
    if rule.get("drop") or rule.get("hash"):
        return
    is_bool = isinstance(found, bool)
    number = isinstance(found, (int, float)) and not is_bool
    kind = rule["type"]
    if kind == "boolean" and is_bool:
        parts[name] = found
    elif (kind == "integer" and number and isinstance(found, int)) or (kind == "number" and number):
        before = parts.get(name, 0)
        parts[name] = before + found
    elif kind == "string" and isinstance(found, str):
        if isinstance(rule.get("enum"), list):
            word = found if found in rule["enum"] else rule.get("else")
            if isinstance(word, str):
                parts[name] = word
        elif rule.get("mask") == "command" and isinstance(found, Masked):
            parts[name] = found


class Spool:
    """The directory of one user."""

    def __init__(self, state: str) -> None:
        self.directory = f"{state}/spool"
        #: The names and sizes of the events that wait, oldest first, their bytes together, and the directory's
        #: modification time when that was true.
        self._held: list[tuple[str, int]] = []
        self._bytes = 0
        self._brought = False
        self._true_at = -1

    def append(self, tool: str, id: str, line: bytes) -> bool:
        """Keeps one event line (with its newline), whole or not at all."""
        if not self._usable():
            return False
        self._make_room(len(line))
        name = f"{id}.{tool}{_SUFFIX}"
        self._write(id, name, line)
        self._held.append((name, len(line)))
        self._bytes += len(line)
        self._true_at = os.stat(self.directory).st_mtime_ns
        return True

    def bring(self, tool: str, manifest: str) -> None:
        """Leaves the manifest that the tool brings beside its events, once."""
        text = manifest.encode("utf-8")
        if self._brought or not self._usable():
            return
        self._brought = True
        path = f"{self.directory}/{tool}.toml"
        try:
            if os.lstat(path).st_size == len(text):
                descriptor = os.open(path, os.O_RDONLY | _CAREFULLY)
                try:
                    if os.read(descriptor, len(text) + 1) == text:
                        return
                finally:
                    os.close(descriptor)
        except FileNotFoundError:
            pass
        self._write(uuid7(time.time_ns() // 1_000_000), f"{tool}.toml", text)

    def _write(self, id: str, name: str, data: bytes) -> None:
        """Writes a file whole: whoever lists the directory sees it with all of its content or not at all."""
        temporary = f"{self.directory}/.{id}.tmp"
        descriptor = os.open(temporary, _FLAGS | os.O_EXCL, 0o600)
        try:
            try:
                whole = os.write(descriptor, data) == len(data)
            finally:
                os.close(descriptor)
            if not whole:
                raise OSError("written in part")
            os.rename(temporary, f"{self.directory}/{name}")
        except BaseException:
            os.unlink(temporary)
            raise

    def _usable(self) -> bool:
        """Whether the directory is there and nobody else's; made if need be."""
        try:
            status = os.lstat(self.directory)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self.directory), 0o700, exist_ok=True)
            os.mkdir(self.directory, 0o700)
            status = os.lstat(self.directory)
        return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022

    def _make_room(self, more: int) -> None:
        """Removes what is too old, and the oldest that one more event has no room beside."""
        if self._true_at != os.stat(self.directory).st_mtime_ns:
            self._list()
        held = self._held
        while held and (len(held) >= MAX_EVENTS or self._bytes + more > MAX_BYTES):
            name, size = held.pop(0)
            self._bytes -= size
            self._remove(name, "dropped")

    def _list(self) -> None:
        oldest = f"{max(time.time_ns() // 1_000_000 - MAX_AGE, 0):012x}"
        held = []
        with os.scandir(self.directory) as entries:
            for entry in entries:
                name = entry.name
                if _tool_of(name) is None:
                    self._tidy(name)
                elif name[:8] + name[9:13] < oldest:
                    self._remove(name, "expired")
                else:
                    try:
                        held.append((name, entry.stat(follow_symlinks=False).st_size))
                    except FileNotFoundError:
                        continue
        held.sort()
        self._held, self._bytes = held, sum(size for _, size in held)

    def _tidy(self, name: str) -> None:
        if name.startswith(".") and name.endswith(".tmp") and len(name) == 41:
            path = f"{self.directory}/{name}"
            try:
                if os.lstat(path).st_mtime < time.time() - _LEFT_BEHIND:
                    os.unlink(path)
            except OSError:
                return

    def _remove(self, name: str, why: str) -> None:
        """Removes an event's file, and counts it once."""
        try:
            os.unlink(f"{self.directory}/{name}")
        except FileNotFoundError:
            return  # somebody else has removed and counted it
        descriptor = os.open(f"{self.directory}/{_tool_of(name)}.{why}", _FLAGS | os.O_APPEND, 0o600)
        try:
            if os.fstat(descriptor).st_size < _MAX_COUNT:
                os.write(descriptor, b"\n")
        finally:
            os.close(descriptor)

    def wedged(self) -> bool:
        """Whether a client met a daemon a moment ago that did not take its event in time."""
        try:
            age = time.time() - os.lstat(f"{self.directory}/wedged").st_mtime
        except OSError:
            return False
        return 0 <= age < WEDGED_FOR

    def note_wedged(self) -> None:
        """Tells the clients of the next moment."""
        path = f"{self.directory}/wedged"
        if self._usable():
            os.close(os.open(path, _FLAGS, 0o600))
            os.utime(path)

    def purge(self, tool: str) -> int:
        """Removes what waits of ``tool``: its user has withdrawn consent. Returns how many events that were."""
        try:
            names = os.listdir(self.directory)
        except OSError:
            return 0
        removed = 0
        for name in names:
            if _tool_of(name) == tool or name == f"{tool}.toml":
                try:
                    os.unlink(f"{self.directory}/{name}")
                    removed += name != f"{tool}.toml"
                except FileNotFoundError:
                    continue
        return removed

    def hand_over(self, connection: Connection, until: float) -> None:
        """Gives what waits to a machine-wide daemon, which never opens a home: oldest first, some at a time, and
        removed only when it was answered for."""
        try:
            names = sorted(name for name in os.listdir(self.directory) if _tool_of(name))
        except OSError:
            return
        lines: list[bytes] = []
        for name in names:
            try:
                descriptor = os.open(f"{self.directory}/{name}", os.O_RDONLY | _CAREFULLY)
            except OSError:
                break
            try:
                line = os.read(descriptor, _HANDED_OVER + 1)
            finally:
                os.close(descriptor)
            if not line.endswith(b"\n") or line.count(b"\n") != 1:
                # Torn by a power cut.
                self._remove(name, "dropped")
                line = b""
            if sum(map(len, lines)) + len(line) > _HANDED_OVER:
                break
            lines.append(line)
        names = [name for name, line in zip(names, lines, strict=False) if line]
        if not names or not connection.send(b"".join(lines), until):
            return
        for name, answer in zip(names, connection.answers(len(names), until), strict=False):
            again = (b'"rate_limited"', b'"queue_full"', b'"storage"', b'"shutting_down"')
            if b'"ok":true' in answer or not any(word in answer for word in again):
                try:
                    os.unlink(f"{self.directory}/{name}")
                except FileNotFoundError:
                    continue


def _tool_of(name: str) -> str | None:
    """The tool of ``<uuid>.<tool>.ndjson``; ``None`` for any other name."""
    if len(name) < 45 or name[36] != "." or not name.endswith(_SUFFIX) or name[8] != "-" or name[14] != "7":
        return None
    return name[37 : -len(_SUFFIX)]
