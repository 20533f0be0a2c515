"""The decision: a pure function of facts, the same as every other client's and the daemon's.

A fact is what a layer says, and where that stands. The first denial in the order of the layers decides, and
nothing below can undo it; where nobody denies, an allow of user, project or invocation does; where nobody
speaks, the tool's manifest.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

#: In the order in which they are asked.
LAYERS = ("machine", "environment", "user", "project", "invocation", "default")
MACHINE, ENVIRONMENT, USER, PROJECT, INVOCATION, DEFAULT = range(6)

#: What a manifest says when nobody speaks; ``UNREGISTERED``: there is none.
OPT_OUT, OPT_IN, UNREGISTERED = "opt-out", "opt-in", "unregistered"

_DEFAULTS = {
    OPT_OUT: (True, "opt-out"),
    OPT_IN: (False, "opt-in"),
    UNREGISTERED: (False, "no manifest: off until the user allows it"),
}


class Fact:
    """Something that was said, and where. ``verdict`` is ``None`` where somebody looked and found nothing."""

    __slots__ = ("_line", "detail", "layer", "source", "verdict")

    def __init__(
        self,
        layer: int,
        verdict: bool | None,
        source: str,
        detail: str,
        line: int | Callable[[], int] | None = None,
    ) -> None:
        self.layer = layer
        self.verdict = verdict
        self.source = source
        self.detail = detail
        self._line = line

    @property
    def line(self) -> int | None:
        """The line of the file, from 1. Looked for only when somebody asks."""
        if callable(self._line):
            self._line = self._line()
        return self._line

    def __repr__(self) -> str:
        return f"Fact({LAYERS[self.layer]}, {self.verdict}, {self.source!r}, {self.detail!r})"


class Decision:
    """The answer, and every layer's word in order."""

    __slots__ = ("chain", "decider")

    def __init__(self, chain: list[Fact], decider: Fact) -> None:
        self.chain = chain
        self.decider = decider

    @property
    def allowed(self) -> bool:
        """Whether it may be sent."""
        return bool(self.decider.verdict)

    @property
    def by(self) -> str:
        """The layer that decided."""
        return LAYERS[self.decider.layer]

    @property
    def source(self) -> str:
        """Where that stands."""
        return self.decider.source

    def as_json(self) -> dict[str, Any]:
        """What ``telemetryctl consent explain --json`` says of it, the tool aside."""

        def word(fact: Fact) -> str:
            return "none" if fact.verdict is None else "allow" if fact.verdict else "deny"

        return {
            "verdict": word(self.decider),
            "by": self.by,
            "source": self.source,
            "chain": [
                {
                    "layer": LAYERS[fact.layer],
                    "verdict": word(fact),
                    "source": fact.source,
                    "line": fact.line,
                    "detail": fact.detail,
                    "decides": fact is self.decider,
                }
                for fact in self.chain
            ],
        }


def spoken(facts: Iterable[Fact]) -> list[Fact]:
    """Where a layer spoke, that it found nothing is not said beside it."""
    facts = list(facts)
    said = {fact.layer for fact in facts if fact.verdict is not None}
    return [fact for fact in facts if fact.verdict is not None or fact.layer not in said]


def decide(facts: Iterable[Fact], default: str, default_source: str) -> Decision:
    """Decides. Facts may come in any order; within a layer they keep theirs."""
    chain = sorted(facts, key=lambda fact: fact.layer)
    verdict, detail = _DEFAULTS[default]
    fallback = Fact(DEFAULT, verdict, default_source, detail)
    may_allow = {USER} if default == UNREGISTERED else {USER, PROJECT, INVOCATION}
    decider = fallback
    for fact in chain:
        if fact.verdict is False:
            decider = fact
            break
        if fact.verdict is True and decider is fallback and fact.layer in may_allow:
            decider = fact
    return Decision([*chain, fallback], decider)
