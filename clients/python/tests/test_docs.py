"""The examples of `docs/tool-authors.md`, as they stand there, against a real daemon and a real endpoint."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomllib
from programs import environment, run

from telemetryd import Telemetry
from telemetryd.testing import Daemon, Home, Sink
from telemetryd.testing._programs import program

PAGE = (Path(__file__).parents[3] / "docs/tool-authors.md").read_text()

MANIFEST = """
name = "mytool"
consent = "opt-out"
notice_required = "tool"
[events.command]
properties.exit_status = "integer"
properties.duration = "number"
[events.ran]
properties.files = "integer"
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.S | re.M)


@pytest.fixture
def installed(home: Home) -> Home:
    home.write("data/telemetryd/tools.d/mytool.toml", MANIFEST)
    return home


def test_the_manifest_and_the_lines_of_python_do_what_the_page_says(
    home: Home, daemon: Daemon, sink: Sink, tmp_path: Path
) -> None:
    (manifest,) = blocks("toml")
    assert Telemetry("mytool", manifest).problems == []
    assert tomllib.loads(manifest)["name"] == "mytool"
    lines = blocks("python")[0]
    (tmp_path / "telemetry.toml").write_text(manifest)
    (tmp_path / "main.py").write_text(
        "import sys\ncli = {'run': {'--env': 1}}\n"
        + lines.replace("telemetry.event(", "telemetry.notice()\ntelemetry.event(")
    )
    text = (
        f"import runpy, sys; sys.argv = ['mytool', 'run', '--env=prod']; runpy.run_path({str(tmp_path / 'main.py')!r})"
    )
    done = run(text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (event,) = sink.wait(1)
    assert event["properties"] == {"command": "mytool run --env *****", "duration": 0.5}


def test_the_example_of_a_test_passes(tmp_path: Path) -> None:
    (manifest,) = blocks("toml")
    example = blocks("python")[2]
    assert "telemetry_events" in example
    (tmp_path / "src/mytool").mkdir(parents=True)
    (tmp_path / "src/mytool/telemetry.toml").write_text(
        manifest.replace("notice_required = true", 'notice_required = "tool"')
    )
    (tmp_path / "test_it.py").write_text(
        "import click\nfrom click.testing import CliRunner\nfrom telemetryd import Telemetry\n"
        "@click.group()\ndef cli(): ...\n@cli.command()\n@click.option('--env')\ndef run(env): ...\n"
        "telemetry = Telemetry.from_manifest('mytool', 'src/mytool/telemetry.toml')\n"
        + blocks("python")[1]
        + "\n"
        + example
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "telemetryd._pytest_plugin", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def shell(text: str, *, path: str, **more: str) -> subprocess.CompletedProcess[str]:
    env = environment(PATH=path, **more)
    return subprocess.run(["/bin/bash", "-c", text], env=env, capture_output=True, text=True, timeout=60, check=False)


def test_the_bash_function_reports_and_leaves_the_exit_status_alone(
    installed: Home, daemon: Daemon, sink: Sink, tmp_path: Path
) -> None:
    (tmp_path / "telemetryctl").symlink_to(program("telemetryctl"))
    (function,) = blocks("bash")
    done = shell(f"{function}\ntelemetry ran -p files=3\nexit 7\n", path=f"{tmp_path}:/usr/bin:/bin")
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
    ran, command = sink.wait(2)
    assert (ran["event"], ran["properties"]) == ("ran", {"files": 3})
    assert command["event"] == "command" and command["properties"]["exit_status"] == 7


def test_the_bash_function_does_nothing_where_it_should_not(installed: Home, daemon: Daemon, tmp_path: Path) -> None:
    (function,) = blocks("bash")
    done = shell(f"set -e\n{function}\ntelemetry ran\n", path="/usr/bin:/bin")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (tmp_path / "telemetryctl").write_text("#!/bin/sh\necho called\nexit 3\n")
    (tmp_path / "telemetryctl").chmod(0o755)
    done = shell(f"set -e\n{function}\ntelemetry ran\n", path=f"{tmp_path}:/usr/bin:/bin", DO_NOT_TRACK="")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = shell(f"set -e\n{function}\ntelemetry ran\n", path=f"{tmp_path}:/usr/bin:/bin")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


node = pytest.mark.skipif(not shutil.which("node"), reason="needs node")


def script(tmp_path: Path, text: str) -> Path:
    (tmp_path / "telemetry.mjs").write_text(blocks("js")[0])
    main = tmp_path / "main.mjs"
    main.write_text(f'import {{ event }} from "./telemetry.mjs";\n{text}\n')
    return main


def run_node(main: Path, **more: str) -> subprocess.CompletedProcess[str]:
    command = [str(shutil.which("node")), str(main)]
    return subprocess.run(command, env=environment(**more), capture_output=True, text=True, timeout=60, check=False)


@node
def test_the_node_example_reports(installed: Home, daemon: Daemon, sink: Sink, tmp_path: Path) -> None:
    done = run_node(script(tmp_path, "event('ran', { files: 3 }); process.exitCode = 7;"))
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
    (event,) = sink.wait(1)
    assert event["properties"] == {"files": 3} and event["context"]["runtime"]["name"] == "node"


@node
def test_the_node_example_is_silent_without_a_daemon_and_under_an_opt_out(installed: Home, tmp_path: Path) -> None:
    main = script(tmp_path, "event('ran');")
    done = run_node(main)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    quiet = script(tmp_path, "import net from 'node:net'; net.connect = () => console.log('asked'); event('ran');")
    assert run_node(quiet).stdout == "asked\n" or run_node(quiet).returncode != 0
    for variable in ("DO_NOT_TRACK", "MYTOOL_NO_TELEMETRY"):
        done = run_node(quiet, **{variable: ""})
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_last_step_of_a_job_waits_until_everything_has_left(installed: Home, daemon: Daemon, sink: Sink) -> None:
    step = next(line for line in PAGE.splitlines() if line.startswith("- run: telemetryctl flush"))
    words = step.removeprefix("- run: telemetryctl ").removesuffix(" || true").split()
    assert Telemetry("mytool").event("ran", files=1)
    done = subprocess.run([program("telemetryctl"), *words], env=environment(), timeout=60, check=False)
    assert done.returncode == 0
    assert len(sink.wait(1)) == 1


def test_a_line_from_a_shell_is_a_client(installed: Home, daemon: Daemon, sink: Sink) -> None:
    found = re.search(r"`(printf .*?\| nc -U -N \"\$socket\")`", PAGE)
    assert found
    if not shutil.which("nc"):
        pytest.skip("needs nc (netcat-openbsd)")
    done = shell(found[1], path="/usr/bin:/bin", socket=str(installed.socket))
    assert '"status":"queued"' in done.stdout, done
    assert sink.wait(1)[0]["event"] == "ran"
