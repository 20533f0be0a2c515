"""One line in a tool: its commands are recorded, its notice is shown, its user can decide."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import click
import click.testing
import pytest
import typer
import typer.testing
from programs import run

from telemetryd import Telemetry
from telemetryd.testing import Daemon, Home, Recorded, Sink

MANIFEST = """
name = "tool"
consent = "opt-out"
notice_required = "tool"
privacy = { contact = "privacy@tool.example" }
[events.command]
properties.command = { type = "string", mask = "command", about = "what was run" }
properties.duration = "number"
properties.exit_status = "integer"
properties.kind = { type = "string", enum = ["csv"] }
"""


def group() -> click.Group:
    @click.group()
    def tool() -> None: ...

    @tool.command()
    @click.option("--env")
    @click.argument("code", type=int)
    def leave(env: str | None, code: int) -> None:
        raise SystemExit(code)

    @tool.command()
    def fail() -> None:
        raise ValueError("no")

    @tool.command()
    def fine() -> None: ...

    return tool


def records(events: Recorded) -> list[tuple[str, int]]:
    for event in events:
        assert event["event"] == "command" and event["properties"]["duration"] >= 0
    return [(event["properties"]["command"], event["properties"]["exit_status"]) for event in events]


def test_a_click_tools_commands_are_recorded_as_they_end(telemetry_events: Recorded) -> None:
    tool = group()
    telemetry = Telemetry("tool", MANIFEST)
    telemetry.attach(tool)
    runner = click.testing.CliRunner()
    assert runner.invoke(tool, ["fine"]).exit_code == 0
    assert runner.invoke(tool, ["leave", "--env", "prod", "3"]).exit_code == 3
    assert isinstance(runner.invoke(tool, ["fail"]).exception, ValueError)
    assert runner.invoke(tool, ["leave", "many"]).exit_code == 2
    assert runner.invoke(tool, ["nothing"]).exit_code == 2
    assert records(telemetry_events) == [
        ("tool fine", 0),
        ("tool leave --env ***** *****", 3),
        ("tool fail", 1),
        ("tool leave *****", 2),
        ("tool *****", 2),
    ]
    assert telemetry.problems == []
    telemetry_events.check(MANIFEST)


def test_a_typer_app_is_recorded_and_keeps_its_shape(telemetry_events: Recorded) -> None:
    app = typer.Typer()

    @app.command()
    def leave(code: int, env: str = "x") -> None:
        raise typer.Exit(code)

    @app.command()
    def fine() -> None: ...

    telemetry = Telemetry("tool", MANIFEST)
    telemetry.attach(app)
    runner = typer.testing.CliRunner()
    assert runner.invoke(app, ["leave", "3", "--env", "prod"]).exit_code == 3
    assert runner.invoke(app, ["fine"]).exit_code == 0
    assert "telemetry" in runner.invoke(app, ["--help"]).output
    shown = runner.invoke(app, ["telemetry", "status"])
    assert shown.exit_code == 0 and "telemetry is on" in shown.output
    assert records(telemetry_events)[:2] == [("tool leave ***** --env *****", 3), ("tool fine", 0)]
    assert [event["properties"]["command"] for event in telemetry_events][2:] == ["tool --help"]
    assert telemetry.problems == []


def test_a_typer_app_of_one_command_keeps_its_shape_too(telemetry_events: Recorded) -> None:
    app = typer.Typer()

    @app.command()
    def only(name: str) -> None:
        typer.echo(f"hello {name}")

    Telemetry("tool", MANIFEST).attach(app)
    shown = typer.testing.CliRunner().invoke(app, ["alice"])
    assert shown.output == "hello alice\n"
    assert records(telemetry_events) == [("tool *****", 0)]


ARGPARSE = f"""
import argparse, sys
from telemetryd import Telemetry
telemetry = Telemetry("tool", {MANIFEST!r})
parser = argparse.ArgumentParser("tool")
commands = parser.add_subparsers(dest="what", required=True)
leave = commands.add_parser("leave")
leave.add_argument("--env")
leave.add_argument("code", type=int)
fail = commands.add_parser("fail")
end = commands.add_parser("end")
telemetry.attach(parser)
args = parser.parse_args()
if args.what == "fail": raise ValueError("no")
if args.what == "leave": sys.exit(args.code)
"""


@pytest.mark.parametrize(
    ("argv", "status", "command"),
    [
        (["leave", "--env", "prod", "3"], 3, "tool leave --env ***** *****"),
        (["leave", "many"], 2, "tool leave *****"),
        (["fail"], 1, "tool fail"),
        (["end"], None, "tool end"),
    ],
)
def test_an_argparse_tool_is_recorded_when_its_process_ends(
    telemetry_events: Recorded, argv: list[str], status: int | None, command: str
) -> None:
    done = run(ARGPARSE, *argv)
    assert done.returncode == (status or 0)
    assert ("Traceback" in done.stderr) == (command == "tool fail")
    (event,) = telemetry_events.wait(1)
    assert event["properties"].pop("duration") >= 0
    expected: dict[str, Any] = {"command": command}
    if status is not None:
        expected["exit_status"] = status
    assert event["properties"] == expected


def test_an_argparse_tool_gets_the_subcommand_and_it_is_not_recorded(home: Home) -> None:
    shown = run(ARGPARSE, "telemetry", "off")
    assert shown.returncode == 0 and "telemetry is off  (user:" in shown.stdout, shown
    assert (home.config / "consent.toml").read_text() == "[tools]\ntool = false\n"
    assert run(ARGPARSE, "telemetry", "nothing").returncode == 2
    bare = ARGPARSE.replace("commands = ", "commands = argparse.ArgumentParser().add_subparsers()\n#")
    shown = run(bare, "telemetry", "on")
    assert shown.returncode == 0 and "telemetry is on  (user:" in shown.stdout, shown
    assert not (home.state / "spool").exists()


def test_a_block_of_ones_own_is_recorded_with_how_it_ends(telemetry_events: Recorded) -> None:
    telemetry = Telemetry("tool", MANIFEST)
    with telemetry.command({"run": {}}, ["run", "secret"]):
        pass
    with pytest.raises(KeyboardInterrupt), telemetry.command({}, []):
        raise KeyboardInterrupt
    assert records(telemetry_events) == [("tool run *****", 0), ("tool", 130)]


def tool(home: Home, *argv: str, **environment: str) -> Any:
    program = textwrap.dedent(
        f"""
        import click
        from telemetryd import Telemetry
        @click.group()
        def tool(): pass
        @tool.command()
        def fine(): pass
        telemetry = Telemetry("tool", {MANIFEST!r})
        telemetry.attach(tool)
        tool()
        """
    )
    return run(program, *argv, env=environment)


def test_off_is_remembered_and_erases_and_on_takes_it_back(home: Home) -> None:
    assert tool(home, "fine").returncode == 0
    assert len(list(home.state.glob("spool/*.ndjson"))) == 1
    home.write(home.config / "consent.toml", "# mine\n[tools]\nother = true # yes\n")
    off = tool(home, "telemetry", "off")
    assert off.returncode == 0 and "erased 1 event that" in off.stdout and "is off  (user:" in off.stdout
    assert (home.config / "consent.toml").read_text() == "# mine\n[tools]\ntool = false\nother = true # yes\n"
    assert tool(home, "fine").returncode == 0
    assert list(home.state.glob("spool/*.ndjson")) == []
    on = tool(home, "telemetry", "on")
    assert "is on  (user:" in on.stdout
    assert (home.config / "consent.toml").read_text() == "# mine\n[tools]\ntool = true\nother = true # yes\n"
    # What the tool says is the state that counts, not the setting.
    still = tool(home, "telemetry", "on", DO_NOT_TRACK="0")
    assert "telemetry is off  (environment: DO_NOT_TRACK" in still.stdout


def test_a_file_that_cannot_be_obeyed_is_left_as_it_was(home: Home) -> None:
    for text in ("telemetry = off\n", "tools = 3\n", "tools = { other = true }\n"):
        path = home.write(home.config / "consent.toml", text)
        off = tool(home, "telemetry", "off")
        assert off.returncode == 1 and off.stderr.startswith("error: ") and path.read_text() == text


def test_show_tells_what_is_reported_and_why(home: Home) -> None:
    shown = tool(home, "telemetry", "show").stdout
    assert "  command: a command line, its values masked  what was run\n" in shown
    assert "  kind: one of csv\n" in shown and "contact: privacy@tool.example\n" in shown
    assert "default      allow  registered" in shown


def test_a_daemon_is_told_and_erases_what_it_has(home: Home, sink: Sink) -> None:
    manifest = 'name = "tool"\nconsent = "opt-out"\nevents = "any"\n'
    home.write(home.root / "data/telemetryd/tools.d/tool.toml", manifest)
    slow = Path(home.config / "config.toml")
    with Daemon(home, sink):
        pass
    slow.write_text(slow.read_text().replace('max_wait = "20ms"', 'max_wait = "1h"'))
    with Daemon(home) as daemon:
        assert tool(home, "fine").returncode == 0
        off = tool(home, "telemetry", "off")
        assert "erased 1 event that" in off.stdout, off
        assert daemon.ask(op="status")["queue"]["events"] == 0
    assert sink.events == []


def test_a_notice_is_shown_once_and_nothing_is_collected_before(home: Home, sink: Sink) -> None:
    notice = 'notice = "we count commands"\nnotice_required = true\n'
    text = MANIFEST.replace('notice_required = "tool"\n', notice)
    telemetry = Telemetry("tool", text)
    assert not telemetry.event("command", duration=1.0)
    assert telemetry.notice() == "we count commands"
    assert (home.state / "noticed/tool").exists()
    assert telemetry.notice() is None
    assert telemetry.event("command", duration=1.0), "kept for a daemon"


def test_a_daemon_is_told_that_the_notice_was_shown(home: Home, daemon: Daemon, sink: Sink) -> None:
    text = 'name = "tool"\nconsent = "opt-out"\nnotice = "we count"\nnotice_required = true\nevents = "any"\n'
    telemetry = Telemetry("tool", text, deadline=5.0)
    telemetry.event("before")
    assert telemetry.notice() == "we count"
    assert telemetry.event("after")
    assert [event["event"] for event in sink.wait(1)] == ["after"]
    assert Telemetry("tool", text).notice() is None


def test_before_send_changes_an_event_or_keeps_it_back(telemetry_events: Recorded) -> None:
    def before_send(event: dict[str, Any]) -> dict[str, Any] | None:
        if event["event"] == "secret":
            return None
        event["properties"]["n"] = 2
        return event

    telemetry = Telemetry("tool", MANIFEST, before_send=before_send)
    assert not telemetry.event("secret")
    assert telemetry.event("ran", n=1)
    assert telemetry_events.events == [{"tool": "tool", "event": "ran", "properties": {"n": 2}}]


def test_the_fixture_tells_what_the_manifest_does_not_list(telemetry_events: Recorded) -> None:
    telemetry = Telemetry("tool", MANIFEST)
    telemetry.event("command", exit_status="0", kind="tsv", more=1)
    telemetry.event("other")
    with pytest.raises(AssertionError) as error:
        telemetry_events.check(MANIFEST)
    assert str(error.value).splitlines()[:4] == [
        "command: exit_status: listed as integer, is str",
        "command: kind: not one of csv",
        "command: more: not listed",
        "other: not listed",
    ]


def test_the_fixture_sees_a_denial_that_a_test_makes(
    telemetry_events: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    assert not Telemetry("tool", MANIFEST).event("command")
    assert telemetry_events.names == []


def test_a_manifest_beside_the_caller_is_found_from_anywhere(home: Home, tmp_path: Path) -> None:
    (tmp_path / "telemetry.toml").write_text(MANIFEST)
    (tmp_path / "main.py").write_text(
        "from telemetryd import Telemetry\n"
        "telemetry = Telemetry.from_manifest('tool', 'telemetry.toml')\n"
        "print(telemetry.problems, telemetry.event('command', duration=1.5))\n"
    )
    done = run(f"import runpy; runpy.run_path({str(tmp_path / 'main.py')!r})", cwd="/")
    assert done.stdout == "[] True\n", done
    (path,) = home.state.glob("spool/*.ndjson")
    assert json.loads(path.read_text())["properties"] == {"duration": 1.5}


def test_the_plug_in_of_pytest_loads_nothing_before_a_test_asks_for_it() -> None:
    text = (
        "import sys, telemetryd._pytest_plugin\nprint([name for name in sys.modules if name.startswith('telemetryd')])"
    )
    assert run(text).stdout == "['telemetryd', 'telemetryd._pytest_plugin']\n"
