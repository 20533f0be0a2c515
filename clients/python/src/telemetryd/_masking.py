"""A command line without what its user wrote in it: a pure function of words and the tool's own command tree.

The same as the Rust client's; the cases are the project's ``tests/vectors/masking``. What comes out is the mask or
a word of the vocabulary, never a word of the user's.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    #: A command's object, ``{"values": [...]}``, the number of words that an option takes, ``None`` where nobody
    #: said.
    Vocabulary = Mapping[str, Any]

#: What stands for a word that is not public.
MASK = "*****"


def mask_command(argv: Iterable[str], vocabulary: Vocabulary) -> list[str]:
    """The words of a command line (without the program's name) as they may leave.

    Walks down while words are commands of the current level. From there a known option keeps its name, a public
    value of an option is kept, everything else becomes :data:`MASK`. ``--x=v`` becomes two words, if ``--x`` is
    known. An option's value is masked even where it looks like an option or a command; after ``--`` everything is.

    >>> mask_command(["run", "--pipeline=ds", "--env=test"], {"run": {"--pipeline": 1, "--env": 1}})
    ['run', '--pipeline', '*****', '--env', '*****']
    """
    masked: list[str] = []
    level = vocabulary
    walking, closed = True, False
    # Values that the last option still takes, and what it takes.
    owed, takes = 0, None
    for word in argv:
        if owed:
            masked.append(_public(takes, word))
            owed -= 1
        elif closed:
            masked.append(MASK)
        elif walking and _is_command(word, level):
            masked.append(_own(word, level))
            level = level[word]
        else:
            walking = False
            option, equals, given = word.partition("=")
            if word == "--":
                closed = True
                masked.append(MASK)
            elif _is_option(word, level):
                masked.append(_own(word, level))
                takes = level[word]
                owed = _count(takes)
            elif equals and _is_option(option, level):
                masked += [_own(option, level), _public(level[option], given)]
            else:
                masked.append(MASK)
    return masked


def _own(word: str, level: Vocabulary) -> str:
    """The word as the vocabulary has it."""
    return next(known for known in level if known == word)


def _is_command(word: str, level: Vocabulary) -> bool:
    below = level.get(word)
    return isinstance(below, dict) and not word.startswith("-") and not isinstance(below.get("values"), list)


def _is_option(word: str, level: Vocabulary) -> bool:
    return word.startswith("-") and word in level


def _count(takes: object) -> int:
    return takes if isinstance(takes, int) else 1


def _public(takes: object, word: str) -> str:
    if isinstance(takes, dict) and isinstance(takes.get("values"), list):
        for known in takes["values"]:
            if known == word:
                return str(known)
    return MASK
