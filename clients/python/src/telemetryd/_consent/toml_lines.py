"""TOML with line numbers: what a person needs to find a mistake.

The values are the standard library's; where a key stands is looked for only when somebody asks, in a text
that is known to be in order.
"""

from __future__ import annotations

import sys

from . import toml_small

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Way = tuple[str | int, ...]


class Mistake(Exception):
    """What is wrong with a file, never the value, and the line it is on."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


def parse(text: str) -> dict[str, Any]:
    """The document; a :class:`Mistake` where it is none."""
    try:
        return toml_small.parse(text)
    except toml_small.Unusual:
        return _parse_all(text)


def _parse_all(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Mistake(_line_of_error(text, str(error)), "not TOML") from None
    except RecursionError:
        raise Mistake(1, "not TOML: nested too deeply") from None


def _line_of_error(text: str, message: str) -> int:
    # "… (at line 3, column 5)", or "… (at end of document)"
    _, found, rest = message.rpartition("(at line ")
    digits = rest.partition(",")[0]
    if found and digits.isdigit():
        return int(digits)
    return text.rstrip("\n").count("\n") + 1


def kind(value: object) -> str:
    """What a value is, in words."""
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, dict):
        return "a table"
    return "a date"


def line_of(text: str, way: Way) -> int:
    """The line of a key (or of an item of an array, by its number) in a document that is in order."""
    return _Lines(text).found.get(tuple(way), 1)


class _Lines:
    """Walks over a valid document once, and notes where each key and item begins."""

    def __init__(self, text: str) -> None:
        self.text = text.replace("\r\n", "\n")
        self.at = 0
        self.found: dict[Way, int] = {}
        self.tables: dict[Way, int] = {}
        try:
            self._document()
        except IndexError:
            pass  # the end of the text; what was found so far holds

    def _note(self, way: Way, at: int) -> None:
        self.found.setdefault(way, self.text.count("\n", 0, at) + 1)

    def _document(self) -> None:
        prefix: Way = ()
        while self.at < len(self.text):
            self._blank()
            if self.at >= len(self.text):
                return
            if self.text[self.at] == "[":
                many = self.text.startswith("[[", self.at)
                self.at += 2 if many else 1
                prefix = self._key(())
                if many:
                    number = self.tables.get(prefix, 0)
                    self.tables[prefix] = number + 1
                    prefix = (*prefix, number)
                self.at = self.text.index("]", self.at) + (2 if many else 1)
            else:
                self._pair(prefix)

    def _pair(self, prefix: Way) -> None:
        way = self._key(prefix)
        self.at = self.text.index("=", self.at) + 1
        self._value(way)

    def _blank(self) -> None:
        while self.at < len(self.text):
            letter = self.text[self.at]
            if letter == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif letter in " \t\n":
                self.at += 1
            else:
                return

    def _key(self, way: Way) -> Way:
        while True:
            while self.text[self.at] in " \t":
                self.at += 1
            start = self.at
            if self.text[self.at] in "\"'":
                name = self._string()
            else:
                while self.text[self.at] not in " \t.=]":
                    self.at += 1
                name = self.text[start : self.at]
            way = (*way, name)
            self._note(way, start)
            while self.text[self.at] in " \t":
                self.at += 1
            if self.text[self.at] != ".":
                return way
            self.at += 1

    def _value(self, way: Way) -> None:
        self._blank()
        letter = self.text[self.at]
        if letter in "\"'":
            self._string()
        elif letter == "[":
            self.at += 1
            self._items(way)
        elif letter == "{":
            self.at += 1
            self._inline(way)
        else:
            while self.at < len(self.text) and self.text[self.at] not in ",]}\n#":
                self.at += 1

    def _items(self, way: Way) -> None:
        number = 0
        while True:
            self._blank()
            if self.text[self.at] == "]":
                self.at += 1
                return
            self._note((*way, number), self.at)
            self._value((*way, number))
            number += 1
            self._blank()
            if self.text[self.at] == ",":
                self.at += 1

    def _inline(self, way: Way) -> None:
        while True:
            self._blank()
            letter = self.text[self.at]
            if letter == "}":
                self.at += 1
                return
            if letter == ",":
                self.at += 1
                continue
            self._pair(way)

    def _string(self) -> str:
        quote = self.text[self.at]
        triple = quote * 3
        if self.text.startswith(triple, self.at):
            start = self.at = self.at + 3
            while not self.text.startswith(triple, self.at):
                self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
            while self.text.startswith(triple, self.at + 1):
                self.at += 1
            self.at += 3
            return self.text[start : self.at - 3]
        start = self.at = self.at + 1
        while self.text[self.at] != quote:
            self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
        self.at += 1
        return self.text[start : self.at - 1]
