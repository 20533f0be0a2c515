"""Masking: everybody's vectors, the laws for every input, and vocabularies out of real command lines."""

from __future__ import annotations

import argparse
import json
import random
from enum import Enum
from pathlib import Path
from typing import Any

import click
import pytest
import typer

from telemetryd import Telemetry, mask_command
from telemetryd._masking import MASK
from telemetryd._vocabulary import vocabulary

FOLDER = Path(__file__).parents[3] / "tests/vectors/masking"


def cases() -> list[Any]:
    found = []
    # `again.json` is the daemon's.
    for path in sorted(FOLDER.glob("*.json")):
        file = json.loads(path.read_text())
        for case in file["cases"] if path.stem != "again" else ():
            words = " ".join(case["args"])
            found.append(pytest.param(file["vocabulary"], case, id=f"{path.stem}: {words}"))
    return found


@pytest.mark.parametrize(("tree", "case"), cases())
def test_every_vector_is_masked_as_it_says(tree: dict[str, Any], case: dict[str, Any]) -> None:
    assert mask_command(case["args"], tree) == case["masked"], case.get("why")


def test_the_vectors_are_all_here() -> None:
    assert len(cases()) >= 150


def test_every_word_that_comes_out_is_the_mask_or_the_vocabularys_own() -> None:
    random.seed(7)
    tree: dict[str, Any] = {
        "run": {"--env": 1, "--pair": 2, "--async": 0, "-x": None, "--kind": {"values": ["a", "b"]}, "name": None},
        "registry": {"list": {"--all": 0}, "values": {"--deep": 0}},
        "--verbose": 0,
    }
    words = ["run", "registry", "list", "values", "--env", "--env=a", "--pair", "--async", "-x", "--kind", "a", "b"]
    words += ["--kind=a", "--kind=secret", "--", "secret", "name", "--verbose", "", "=", "--=", "-", "--all", "--deep"]
    public = {"run", "registry", "list", "values", "--env", "--pair", "--async", "-x", "--kind", "--all", "--deep"}
    public |= {"--verbose", "a", "b", MASK}
    for _ in range(5000):
        argv = random.choices(words, k=random.randint(0, 8))
        masked = mask_command(argv, tree)
        assert public.issuperset(masked), argv
        # Masked again it is the same.
        assert mask_command(masked, tree) == masked, argv


def test_a_value_is_masked_whatever_it_looks_like() -> None:
    tree = {"run": {"--env": 1, "--pipeline": None, "--async": 0, "run": {}}}
    argv = ["run", "--env", "run", "--pipeline", "--env", "--async", "run"]
    assert mask_command(argv, tree) == ["run", "--env", MASK, "--pipeline", MASK, "--async", MASK]
    assert mask_command(["run", "--", "--env"], tree) == ["run", MASK, MASK]


class Lazy(click.Group):
    """A group whose commands are imported when they are asked for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asked: list[str] = []

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ["heavy", "light", *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in ("heavy", "light"):
            self.asked.append(cmd_name)
            return click.Command(cmd_name, params=[click.Option([f"--{cmd_name}-option"])])
        return super().get_command(ctx, cmd_name)


def test_click_tells_arity_public_values_and_help_and_loads_no_lazy_command() -> None:
    group = Lazy("tool", params=[click.Option(["--verbose/--quiet", "-v"])])

    @group.command()
    @click.option("--env", "-e")
    @click.option("--pair", nargs=2)
    @click.option("--flag", is_flag=True)
    @click.option("--count", count=True)
    @click.option("--maybe", is_flag=False, flag_value="x")
    @click.option("--kind", type=click.Choice(["csv", "json"]))
    @click.argument("files", nargs=-1)
    def run(**_: Any) -> None: ...

    words = vocabulary(group, ["run"])
    assert words == {
        "--verbose": 0,
        "--quiet": 0,
        "-v": 0,
        "--help": 0,
        "heavy": {},
        "light": {},
        "run": {
            "--env": 1,
            "-e": 1,
            "--pair": 2,
            "--flag": 0,
            "--count": 0,
            "--maybe": None,
            "--kind": {"values": ["csv", "json"]},
            "--help": 0,
        },
    }
    assert group.asked == []
    assert vocabulary(group, ["light", "x"])["light"] == {"--light-option": 1, "--help": 0}
    assert group.asked == ["light"]


class Kind(str, Enum):
    csv = "csv"
    json = "json"


def test_typer_and_argparse_tell_the_same() -> None:
    app = typer.Typer()

    @app.command()
    def run(files: list[str], env: str = "x", kind: Kind = Kind.csv, flag: bool = False) -> None: ...

    @app.command()
    def other() -> None: ...

    parser = argparse.ArgumentParser("tool")
    parser.add_argument("--verbose", action="store_true")
    below = parser.add_subparsers()
    sub = below.add_parser("run")
    sub.add_argument("files", nargs="*")
    sub.add_argument("--env")
    sub.add_argument("--kind", choices=["csv", "json"])
    sub.add_argument("--flag", action=argparse.BooleanOptionalAction)
    sub.add_argument("--many", nargs="+")
    telemetry = Telemetry("tool")
    argv = ["run", "--env=prod", "--kind", "csv", "--flag", "secret", "--kind=tsv", "--no-flag"]
    expected = f"tool run --env {MASK} --kind csv --flag {MASK} --kind {MASK} --no-flag"
    assert telemetry.mask(argv, app) == expected
    assert telemetry.mask(argv, parser) == expected
    assert vocabulary(parser, [])["run"]["--many"] is None


def test_free_text_among_choices_is_no_public_value() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--who", choices=["alice smith", "/etc/passwd", "ok"])
    assert vocabulary(parser, [])["--who"] == {"values": ["ok"]}


def test_what_cannot_be_walked_leaves_the_tools_name() -> None:
    class Broken(click.Group):
        def list_commands(self, ctx: click.Context) -> list[str]:
            raise RuntimeError

    assert Telemetry("tool").mask(["run", "secret"], Broken("tool")) == "tool"
    assert Telemetry("tool").mask(["run", "secret"], object()) == f"tool {MASK} {MASK}"
