"""The small reader of TOML says what the standard library's says, or leaves it to that."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import tomllib

from telemetryd._consent import toml_small
from telemetryd._consent.toml_lines import line_of

ROOT = Path(__file__).parents[3]

SAMPLES = [
    "",
    "a = 1\nb.c = 'x'\nb.d = \"y\"\n",
    '# c\n[a]\nx = true # why\n[a.b]\ny = [1, 2,\n  3, # four\n]\n["q r".s]\nz = {k = 1, "l m" = [{n = 2.5}]}\n',
    "[a]\nb.c = 1\n[d]\n[a.e]\nf = -7\n",
    'consent = \'opt-out\'\nproject_files = [{ path = ".telemetry", format = "yaml", key = "consent" }]\n',
    '[events."CLI command"]\nproperties.command = { type = "string", mask = "command", max = 512 }\n',
    'properties."types.*" = { type = "integer", keys = { prefix = ["a."], else = "b" } }\n',
    "[a]\n[a.b]\n[c]\n[a.d]\n",
    "x = 0\ny = -0\nz = 10.25\n",
    "a = []\nb = {}\nc = [[], [1]]\n",
]
#: Mistakes, and what is only unusual.
BAD = [
    "[a.b]\nx = 1\n[a]\ny = 2\n",
    "a = 1\na = 2", "[a]\n[a]", "a.b = 1\n[a]", "a = {b = 1}\n[a.c]", "a = {b = 1}\na.c = 2", "[a]\nb = 1\n[a.b]",
    "a = 01", "a = 1_", "a = +", "a =", "= 1", "a = tru", "a = 'x", 'a = "x\ny"', "a = [1 2]", "a = {b = 1,}", "[a",
    "a = {b = 1\n}", "a b = 1", "a = 1 b = 2", "[a] b = 1", "a = \"\"\"x", "a = .5", "a = 5.", "[]", "[[a]]\n[a]",
    "a.b = 1\na.b.c = 2", "[a.b]\n[a]\nb.c = 1", "a = 'x'y", "a = truefalse", "\ta = 1\x00", "a = \"\\q\"",
    "a.'' = 1\na.\"\" = 2",
]  # fmt: skip


def standard(text: str) -> object:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def small(text: str) -> object:
    try:
        return toml_small.parse(text)
    except toml_small.Unusual:
        return None


@pytest.mark.parametrize("text", SAMPLES)
def test_what_is_usual_is_read_as_the_standard_reader_reads_it(text: str) -> None:
    assert small(text) is not None and small(text) == standard(text)
    assert small(text.replace("\n", "\r\n")) == standard(text)


@pytest.mark.parametrize("text", BAD)
def test_no_mistake_is_taken_for_toml(text: str) -> None:
    assert small(text) is None or small(text) == standard(text)


def test_the_manifests_of_the_project_are_usual() -> None:
    paths = [*ROOT.glob("tests/vectors/consent/manifests/*.toml"), *ROOT.glob("config/tools.d/*.toml")]
    assert paths
    for path in paths:
        assert small(path.read_text()) == standard(path.read_text()) is not None, path


def test_whatever_is_made_of_them_both_readers_agree_or_the_small_one_is_silent() -> None:
    random.seed(5)
    pieces = [piece for text in SAMPLES + BAD for piece in text.splitlines(keepends=True)]
    letters = "ab=[]{}.,'\"# \n\\01-_t\r\t"
    agreed = 0
    for _ in range(30_000):
        text = "".join(random.choices(pieces, k=random.randint(1, 5)))
        for _ in range(random.randint(0, 3)):
            at = random.randint(0, len(text))
            text = text[:at] + random.choice(letters) + text[at + random.randint(0, 1) :]
        found = small(text)
        if found is not None:
            agreed += 1
            # As JSON: 1 and true are not the same.
            assert json.dumps(found) == json.dumps(standard(text)), text
    assert agreed > 1000


def test_lines_are_found_in_whatever_is_in_order() -> None:
    text = SAMPLES[2]
    assert line_of(text, ("a", "b")) == 4
    assert line_of(text, ("a", "b", "y", 2)) == 6
    assert line_of(text, ("q r", "s", "z", "l m", 0, "n")) == 9
