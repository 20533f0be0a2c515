"""Layers 3 and 4: a tool's own files in which somebody may have answered, of the user and of the project.

Of YAML the subset that matters is read, a mapping of plain scalars with the booleans of YAML 1.1. Anything
more, and whatever else cannot be read as a yes or a no, denies.
"""

from __future__ import annotations

from .eyes import ABSENT, FILE, Eyes
from .facts import PROJECT, USER, Fact
from .toml_lines import Mistake, kind, line_of, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .._manifest import ToolFile

_YES = frozenset(("true True TRUE yes Yes YES on On ON").split())
_NO = frozenset(("false False FALSE no No NO off Off OFF").split())

#: An answer: yes or no, its line, and how it stands there.
Answer = tuple[bool, "int | Callable[[], int]", str]


def of_user(files: list[ToolFile], home: str, eyes: Eyes) -> list[Fact]:
    """The rest of layer 3."""
    facts = (_answer(file, _of_home(home, file), USER, eyes) for file in files)
    return [fact for fact in facts if fact]


def of_project(
    project_files: list[ToolFile], user_files: list[ToolFile], start: str, home: str | None, eyes: Eyes
) -> list[Fact]:
    """Layer 4: each file in the nearest parent of ``start`` that has it, up to and with ``home``, outside of it
    up to the mount point."""
    if not project_files:
        return []
    # In the home itself the same file may be the user's, who is asked before the project.
    users = {_of_home(home, file) for file in user_files} if home else set()
    parents = list(_parents(start, home, eyes))
    facts = []
    for file in project_files:
        for parent in parents:
            path = _join(parent, file.path)
            if path not in users and eyes.look(path).kind != ABSENT:
                fact = _answer(file, path, PROJECT, eyes)
                if fact:
                    facts.append(fact)
                break
    if not facts:
        names = " or ".join(file.path for file in project_files)
        facts.append(Fact(PROJECT, None, "-", f"no word in {names}, here or above"))
    return facts


def project_root(project_files: list[ToolFile], start: str, home: str | None, eyes: Eyes) -> str | None:
    """The project's directory, as its own files tell it: the nearest parent of ``start`` that has one of them, else
    ``start`` itself; ``None`` where the manifest names no file, so that its tool knows no projects."""
    if not project_files:
        return None
    for parent in _parents(start, home, eyes):
        if any(eyes.look(_join(parent, file.path)).kind != ABSENT for file in project_files):
            return parent
    return start


def _of_home(home: str, file: ToolFile) -> str:
    return _join(home, file.path[2:]) if file.path.startswith("~/") else file.path


def _join(directory: str, below: str) -> str:
    return f"{directory.rstrip('/')}/{below}"


def _parents(start: str, home: str | None, eyes: Eyes) -> Iterator[str]:
    """``start`` and its parents as far as somebody who works in ``start`` can have meant them."""
    inside = home is not None and (start == home or start.startswith(home.rstrip("/") + "/"))
    device = None if inside else eyes.device(start)
    parent = start
    while True:
        if not inside:
            here = eyes.device(parent)
            if device is not None and here is not None and here != device:
                return
            device = device if here is None else here
        yield parent
        if parent == "/" or not parent or (inside and parent == home):
            return
        parent = parent.rstrip("/").rpartition("/")[0] or ("/" if parent.startswith("/") else "")


def _answer(file: ToolFile, path: str, layer: int, eyes: Eyes) -> Fact | None:
    found = eyes.look(path)
    if found.kind == ABSENT:
        return None
    if found.kind != FILE:
        return Fact(layer, False, path, f"cannot be read: {found.why}")
    try:
        answer = yaml_answer(found.text, file.key[0]) if file.format == "yaml" else _toml(found.text, file.key)
    except Mistake as mistake:
        return Fact(layer, False, path, mistake.message, mistake.line)
    if answer is None:
        return None
    yes, line, shown = answer
    return Fact(layer, yes, path, shown, line)


def _toml(text: str, way: tuple[str, ...]) -> Answer | None:
    table: object = parse(text)
    for depth, name in enumerate(way):
        here = way[: depth + 1]
        if not isinstance(table, dict):
            raise Mistake(line_of(text, here[:-1]), f"{way[depth - 1]}: expected a table, found {kind(table)}")
        for written in sorted(table):
            if written != name and written.lower() == name.lower():
                raise Mistake(line_of(text, (*here[:-1], written)), f"{written}: in another case than {name}")
            if written == name:
                break
        if name not in table:
            return None
        table = table[name]
    if not isinstance(table, bool):
        raise Mistake(line_of(text, way), f"{way[-1]}: expected true or false, found {kind(table)}")
    return table, lambda: line_of(text, way), f"{way[-1]} = {str(table).lower()}"


def yaml_answer(text: str, name: str) -> Answer | None:
    answer: Answer | None = None
    seen: set[str] = set()
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if any(letter < " " or "\x7f" <= letter < "\xa0" for letter in line):
            raise Mistake(number, "not a mapping of plain scalars: a tab or a control character")
        # A comment begins with a `#` that stands first or after a space.
        bare = "" if line.lstrip().startswith("#") else line.partition(" #")[0]
        if not bare.strip():
            continue
        if bare.startswith(" "):
            raise Mistake(number, "not a mapping of plain scalars: an indented line")
        key, colon, value = bare.partition(": ")
        if not colon:
            key = bare.rstrip()
            if not key.endswith(":"):
                raise Mistake(number, "not a mapping: a line without a key and a colon")
            key = key[:-1]
        key, value = key.rstrip(), value.strip()
        if not _is_plain(key) or not (key == name or not value or _is_plain(value)):
            raise Mistake(number, "not a mapping of plain scalars")
        if key in seen:
            raise Mistake(number, "a key that stands there twice")
        seen.add(key)
        if key != name and key.lower() == name.lower():
            raise Mistake(number, f"{key}: in another case than {name}")
        if key == name:
            if value not in _YES and value not in _NO:
                raise Mistake(number, f"{name}: expected true or false without quotes, found something else")
            answer = (value in _YES, number, f"{name}: {value}")
    if not seen:
        raise Mistake(1, "empty: not a mapping")
    return answer


def _is_plain(word: str) -> bool:
    """A plain scalar on one line (YAML 1.1, 9.1.3, and nothing beyond what every loader agrees on)."""
    number = word.startswith("-") and word[1:2].isascii() and word[1:2].isdigit()
    return bool(
        word
        and (number or word[0] not in "-?:,[]{}#&*!|>'\"%@`")
        and word != "<<"
        and not word.startswith("...")
        and ": " not in word
        and not word.endswith(":")
    )
