"""The part of TOML that manifests and files of consent are mostly written in, read without regular expressions.

Loading the standard library's reader costs a short command more than all the rest of an event. What is not plainly in
this part (escapes, dates, exponents, a table that is opened twice) is :class:`Unusual`, and left to that reader. So is
every mistake: nothing is taken for TOML that is none.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_DIGITS = frozenset("0123456789")


class Unusual(Exception):
    """Not in this part."""


def parse(text: str) -> dict[str, Any]:
    """The document, or :class:`Unusual`."""
    reader = _Reader(text.replace("\r\n", "\n"))
    try:
        return reader.document()
    except IndexError:
        raise Unusual from None  # the text ends in the middle of something


class _Reader:
    def __init__(self, text: str) -> None:
        # Beside the newline no control character is usual.
        for letter in text:
            if (letter < " " and letter != "\n") or letter == "\x7f":
                raise Unusual
        self.text = text
        self.at = 0
        #: Tables that a header may go through, and those that a dotted key has made and another may go through. A
        #: table in braces is neither. (All of them live as long as the document, so that an id is one table's.)
        self.open: set[int] = set()
        self.dotted: set[int] = set()

    def document(self) -> dict[str, Any]:
        root: dict[str, Any] = {}
        self.open.add(id(root))
        table = root
        while True:
            self._blank()
            if self.at >= len(self.text):
                return root
            if self.text[self.at] == "[":
                table = self._header(root)
            else:
                self._pair(table, dotted=True)
            self._end_of_line()

    def _header(self, root: dict[str, Any]) -> dict[str, Any]:
        self.at += 1
        way = self._key()
        if self.text[self.at] != "]":
            raise Unusual
        self.at += 1
        table = root
        for name in way[:-1]:
            if name not in table:
                table[name] = {}
                self.open.add(id(table[name]))
            table = table[name]
            if id(table) not in self.open:
                raise Unusual
        if way[-1] in table:
            raise Unusual
        fresh: dict[str, Any] = {}
        table[way[-1]] = fresh
        self.open.add(id(fresh))
        return fresh

    def _pair(self, table: dict[str, Any], *, dotted: bool) -> None:
        way = self._key()
        if self.text[self.at] != "=" or (len(way) > 1 and not dotted):
            raise Unusual
        self.at += 1
        for name in way[:-1]:
            if name not in table:
                table[name] = {}
                self.dotted.add(id(table[name]))
            table = table[name]
            if id(table) not in self.dotted:
                raise Unusual
        if way[-1] in table:
            raise Unusual
        self._spaces()
        table[way[-1]] = self._value()

    def _key(self) -> list[str]:
        way = []
        while True:
            self._spaces()
            start = self.at
            if self.text[start] in "\"'":
                way.append(self._string())
            else:
                while self.text[self.at] in _BARE:
                    self.at += 1
                if self.at == start:
                    raise Unusual
                way.append(self.text[start : self.at])
            self._spaces()
            if self.text[self.at] != ".":
                return way
            self.at += 1

    def _value(self) -> Any:
        letter = self.text[self.at]
        if letter in "\"'":
            return self._string()
        if letter == "[":
            return self._array()
        if letter == "{":
            return self._braces()
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in " \n,]}#":
            self.at += 1
        word = self.text[start : self.at]
        if word in ("true", "false"):
            return word == "true"
        whole, point, part = word.partition(".")
        digits = whole.removeprefix("-")
        if not digits or not _DIGITS.issuperset(digits) or (len(digits) > 1 and digits[0] == "0") or len(digits) > 15:
            raise Unusual
        if not point:
            return int(word)
        if not part or not _DIGITS.issuperset(part):
            raise Unusual
        return float(word)

    def _array(self) -> list[Any]:
        self.at += 1
        items: list[Any] = []
        while True:
            self._blank()
            if self.text[self.at] == "]":
                self.at += 1
                return items
            items.append(self._value())
            self._blank()
            if self.text[self.at] == ",":
                self.at += 1
            elif self.text[self.at] != "]":
                raise Unusual

    def _braces(self) -> dict[str, Any]:
        self.at += 1
        table: dict[str, Any] = {}
        self._spaces()
        if self.text[self.at] == "}":
            self.at += 1
            return table
        while True:
            self._pair(table, dotted=False)
            self._spaces()
            letter = self.text[self.at]
            self.at += 1
            if letter == "}":
                return table
            if letter != ",":
                raise Unusual

    def _string(self) -> str:
        quote = self.text[self.at]
        end = self.text.find(quote, self.at + 1)
        found = self.text[self.at + 1 : end]
        if end < 0 or "\n" in found or (quote == '"' and "\\" in found):
            raise Unusual
        if not found and self.text[end + 1 : end + 2] == quote:
            raise Unusual  # three of them
        self.at = end + 1
        return found

    def _spaces(self) -> None:
        while self.text[self.at] == " ":
            self.at += 1

    def _blank(self) -> None:
        while self.at < len(self.text):
            letter = self.text[self.at]
            if letter == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif letter in " \n":
                self.at += 1
            else:
                return

    def _end_of_line(self) -> None:
        while self.at < len(self.text) and self.text[self.at] == " ":
            self.at += 1
        if self.at < len(self.text) and self.text[self.at] not in "#\n":
            raise Unusual
