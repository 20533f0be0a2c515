"""Files in which somebody answers, after a change of mind: the user's ``consent.toml``, and a tool's own file in a
project. What else stands in them is kept to the letter."""

from __future__ import annotations

import os

from ._consent.own_files import yaml_answer
from ._consent.toml_lines import Mistake, line_of, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def change(path: str, edit: Callable[[str], str]) -> bool:
    """Changes the file at ``path``, whole or not at all; whether it was made. A :class:`Mistake`, and nothing changed,
    where it cannot be obeyed as it stands."""
    directory = os.path.dirname(path)
    os.makedirs(directory, 0o700, exist_ok=True)
    turn = _turn(directory)
    try:
        return _change(path, edit)
    finally:
        if turn is not None:
            os.close(turn)


def _turn(directory: str) -> int | None:
    """The turn to edit a file in ``directory``, as the daemon and telemetryctl take it, too: who reads a file, changes
    a word and replaces it undoes what another one says meanwhile. A lock on the directory itself, held until it is
    closed; none where the system has none, or somebody has stopped in the middle of its own."""
    try:
        import fcntl
        import time

        descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    except (ImportError, OSError):
        return None
    for _ in range(500):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            time.sleep(0.01)
        except OSError:
            break
    os.close(descriptor)
    return None


def _change(path: str, edit: Callable[[str], str]) -> bool:
    made = False
    try:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
    except FileNotFoundError:
        text, made = "", True
    except UnicodeDecodeError:
        raise Mistake(1, "not UTF-8") from None
    changed = edit(text)
    if changed == text:
        return False
    target = os.path.realpath(path)
    temporary = f"{target}.{os.getpid()}.tmp"
    mode = 0o600 if made else os.stat(target).st_mode & 0o777
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), mode)
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(changed)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise
    return made


def edited_toml(text: str, way: tuple[str, ...], on: bool) -> str:
    """The text with the key at the end of ``way`` set to ``on``."""
    document = parse(text)
    table: Any = document
    for depth, name in enumerate(way[:-1]):
        table = table.get(name, {})
        if not isinstance(table, dict):
            raise Mistake(line_of(text, way[: depth + 1]), f"{name}: not a table")
    if table.get(way[-1]) is on:
        return text
    word = "true" if on else "false"
    key, header = _written(way[-1]), f"[{'.'.join(map(_written, way[:-1]))}]"
    lines = text.splitlines(keepends=True)
    end = "\r\n" if text.endswith("\r\n") else "\n"
    candidates = []
    if isinstance(table.get(way[-1]), bool):
        number = line_of(text, way) - 1
        before, equals, after = lines[number].partition("=")
        line = before + equals + after.replace("false" if on else "true", word, 1)
        candidates.append([*lines[:number], line, *lines[number + 1 :]])
    elif way[-1] not in table:
        if len(way) == 1:
            candidates.append([f"{key} = {word}{end}", text])
        for number, line in enumerate(lines):
            if line.strip().partition("#")[0].rstrip() == header:
                own = line if line.endswith("\n") else line + end
                candidates.append([*lines[:number], own, f"{key} = {word}{end}", *lines[number + 1 :]])
        whole = text if not text or text.endswith("\n") else text + end
        candidates.append([whole, end if text else "", f"{header}{end}{key} = {word}{end}"])
    # What was written is read again before anything is believed of it.
    wanted = _set(document, way, on)
    for candidate in candidates:
        changed = "".join(candidate)
        try:
            if parse(changed) == wanted:
                return changed
        except Mistake:
            continue
    raise Mistake(line_of(text, way), f"cannot be changed by a program; write {key} = {word} under {header}")


def _written(name: str) -> str:
    return f'"{name}"' if "." in name else name


def _set(table: dict[str, Any], way: tuple[str, ...], on: bool) -> dict[str, Any]:
    if len(way) == 1:
        return {**table, way[0]: on}
    return {**table, way[0]: _set(table.get(way[0], {}), way[1:], on)}


def edited_yaml(text: str, key: str, on: bool) -> str:
    """The text of a mapping of plain scalars with ``key`` set to ``on``."""
    line = f"{key}: {'true' if on else 'false'}"
    if not text:
        return f"{line}\n"
    answer = yaml_answer(text, key)
    if answer is None:
        changed = f"{text}{'' if text.endswith(chr(10)) else chr(10)}{line}\n"
    else:
        lines = text.splitlines(keepends=True)
        number = answer[1] if isinstance(answer[1], int) else 1
        old = lines[number - 1]
        lines[number - 1] = line + old[len(old.rstrip("\r\n")) :]
        changed = "".join(lines)
    read = yaml_answer(changed, key)
    if read is None or read[0] is not on:
        raise Mistake(1, f"cannot be changed by a program; write {line}")
    return changed
