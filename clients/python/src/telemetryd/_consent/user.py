"""Layer 3, the user's word: ``consent.toml``. What cannot be read denies."""

from __future__ import annotations

from .eyes import ABSENT, FILE, Eyes
from .facts import USER, Fact
from .machine import is_tool_name
from .toml_lines import Mistake, kind, line_of, parse


class UserConsent:
    """What a ``consent.toml`` says."""

    def __init__(self, source: str, text: str | None = None) -> None:
        self.source = source
        self.text = text
        self.everything: Fact | None = None
        self.tools: dict[str, Fact] = {}

    def deny(self, at: tuple[str, ...] | int | None, detail: str) -> None:
        """Denies every tool. The first reason counts."""
        if self.everything is None:
            self.everything = self._fact(False, at, detail)

    def _fact(self, verdict: bool, at: tuple[str, ...] | int | None, detail: str) -> Fact:
        text = self.text or ""
        line = (lambda way=at: line_of(text, way)) if isinstance(at, tuple) else at
        return Fact(USER, verdict, self.source, detail, line)

    def read(self) -> None:
        """Reads the text."""
        try:
            document = parse(self.text or "")
        except Mistake as mistake:
            self.deny(mistake.line, mistake.message)
            return
        for key, value in sorted(document.items()):
            if key == "telemetry" and isinstance(value, bool):
                # `true` only lifts a `false`: it is no consent of its own.
                if not value:
                    self.deny((key,), "telemetry = false")
            elif key == "tools" and isinstance(value, dict):
                for tool, word in sorted(value.items()):
                    way = (key, tool)
                    if not isinstance(word, bool):
                        self.deny(way, f"tools.{tool}: expected true or false, found {kind(word)}")
                    elif is_tool_name(tool):
                        self.tools[tool] = self._fact(word, way, f"{tool} = {str(word).lower()}")
                    else:
                        self.deny(way, "a key under [tools] is no tool's name")
            elif key in ("telemetry", "tools"):
                self.deny((key,), f"{key}: wrong type, found {kind(value)}")
            else:
                self.deny((key,), f"{key}: unknown key")

    def facts(self, tool: str) -> list[Fact]:
        """What the user said about ``tool``: one fact at least."""
        facts = [fact for fact in (self.everything, self.tools.get(tool)) if fact]
        if not facts:
            detail = "does not exist" if self.text is None else f"says nothing about {tool}"
            facts.append(Fact(USER, None, self.source, detail))
        return facts

    def narrow(self, other: UserConsent) -> None:
        """Another person's word joins (``sudo``): what either denies is denied."""
        self.everything = self.everything or other.everything
        self.tools.update({tool: fact for tool, fact in other.tools.items() if fact.verdict is False})


def read(path: str, eyes: Eyes) -> UserConsent:
    """Reads the file at ``path``."""
    found = eyes.look(path)
    if found.kind == ABSENT:
        return UserConsent(path)
    if found.kind == FILE:
        consent = UserConsent(path, found.text)
        consent.read()
        return consent
    consent = UserConsent(path)
    consent.deny(None, f"cannot be read: {found.why}")
    return consent
