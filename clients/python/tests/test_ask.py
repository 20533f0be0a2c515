"""A question at a terminal, and what becomes of the answer."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from programs import environment, run

from telemetryd._consent.toml_lines import Mistake, parse
from telemetryd._consent_edit import change, edited_toml, edited_yaml
from telemetryd.testing import Home

TOOL = """
from telemetryd import Telemetry
manifest = '''
name = "tool"
consent = "opt-in"
notice = "we count commands"
project_files = [{ path = ".telemetry", format = "yaml", key = "consent" }]
events = "any"
'''
telemetry = Telemetry("tool", manifest)
"""


def at_a_terminal(text: str, typed: str, cwd: Path) -> str:
    """What a person sees who types that."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", TOOL + text]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(), cwd=cwd)
    os.close(theirs)
    os.write(ours, typed.encode())
    shown = b""
    while select.select([ours], [], [], 30)[0]:
        try:
            shown += os.read(ours, 4096)
        except OSError:
            break  # the terminal's other side is closed
    process.wait()
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize(("typed", "answer"), [("y\n", True), ("what\nyes\n", True), ("\n", False), ("NO\n", False)])
def test_an_answer_is_kept_for_the_user(home: Home, typed: str, answer: bool) -> None:
    shown = at_a_terminal("print('said', telemetry.ask(), telemetry.decision().allowed)", typed, home.root)
    assert "we count commands\nMay tool send usage data? [y/N]" in shown.replace(typed, "", 1), shown
    assert f"said {answer} {answer}" in shown
    assert parse((home.config / "consent.toml").read_text()) == {"tools": {"tool": answer}}


def test_an_answer_is_kept_for_the_project(home: Home) -> None:
    project = home.root / "home/shop"
    project.mkdir()
    (project / ".gitignore").write_text("target")
    shown = at_a_terminal("print('said', telemetry.ask('Well?', save='project'))", "n\n", project)
    assert "Well?" in shown and "said False" in shown
    assert (project / ".telemetry").read_text() == "consent: false\n"
    assert (project / ".gitignore").read_text() == "target\n.telemetry\n"
    shown = at_a_terminal("print('said', telemetry.ask(save='project'))", "y\n", project)
    assert (project / ".telemetry").read_text() == "consent: true\n"
    assert (project / ".gitignore").read_text() == "target\n.telemetry\n"
    assert not (home.config / "consent.toml").exists()


def test_without_a_terminal_or_under_a_denial_nothing_is_asked_and_nothing_recorded(home: Home) -> None:
    done = run(TOOL + "print(telemetry.ask())")
    assert (done.stdout, done.stderr) == ("None\n", "")
    home.write("machine/opt-out", "")
    assert at_a_terminal("print('said', telemetry.ask())", "y\n", home.root).endswith("said None\n")
    assert not home.config.exists()


@pytest.mark.parametrize(
    ("text", "way", "on", "expected"),
    [
        ("", ("tools", "a"), False, "[tools]\na = false\n"),
        ("", ("a",), True, "a = true\n"),
        ("x = 1\n", ("a",), True, "a = true\nx = 1\n"),
        ("# c\n[r]\nx = 1", ("r", "k"), False, "# c\n[r]\nk = false\nx = 1"),
        ("[r]\nk = true # why\n", ("r", "k"), False, "[r]\nk = false # why\n"),
        ("r.k = true\n", ("r", "k"), False, "r.k = false\n"),
        ("[a]\r\nx = 1\r\n", ("r", "k"), True, "[a]\r\nx = 1\r\n\r\n[r]\r\nk = true\r\n"),
    ],
)
def test_toml_is_changed_in_one_place(text: str, way: tuple[str, ...], on: bool, expected: str) -> None:
    assert edited_toml(text, way, on) == expected


def test_yaml_is_changed_in_one_place_or_left_alone() -> None:
    assert edited_yaml("# c\nconsent: true\nid: 3f\n", "consent", False) == "# c\nconsent: false\nid: 3f\n"
    assert edited_yaml("id: 3f", "consent", True) == "id: 3f\nconsent: true\n"
    for text in ("- a\n", "consent: maybe\n", "a:\n  b: c\n"):
        with pytest.raises(Mistake):
            edited_yaml(text, "consent", True)


def test_of_words_that_are_said_at_once_none_is_lost(tmp_path: Path) -> None:
    path = f"{tmp_path}/config/consent.toml"
    tools = [f"tool-{number}" for number in range(12)]

    def deny(tool: str) -> None:
        change(path, lambda text: edited_toml(text, ("tools", tool), False))

    said = [threading.Thread(target=deny, args=(tool,)) for tool in tools]
    for one in said:
        one.start()
    for one in said:
        one.join()
    assert parse(Path(path).read_text())["tools"] == dict.fromkeys(tools, False)
