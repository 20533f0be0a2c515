"""What a tool's author does: `pip install` the wheels, three lines and a manifest, and an event arrives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import SOMEBODY

from telemetryd import _places
from telemetryd.testing import Home, Sink
from telemetryd.testing._programs import destination

pytestmark = [
    pytest.mark.skipif(os.path.exists(_places.SYSTEM_SOCKET), reason="this machine has a daemon of its own"),
    pytest.mark.skipif(
        not (os.environ.get("XTASK_BIN") or os.environ.get("TELEMETRYD_WHEELS")),
        reason="no wheels: `cargo ci python` builds them, TELEMETRYD_WHEELS names a directory that has them",
    ),
]

MANIFEST = """
name = "mytool"
consent = "opt-out"
notice_required = "tool"
[events.ran]
properties.n = "integer"
"""

SCRIPT = """
from telemetryd import Telemetry
telemetry = Telemetry.from_manifest("mytool", "telemetry.toml")
telemetry.event("ran", n=3)
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both wheels; the programs as the other tests have them."""
    named = os.environ.get("TELEMETRYD_WHEELS")
    if named:
        return Path(named)
    out = tmp_path_factory.mktemp("wheels")
    subprocess.run([os.environ["XTASK_BIN"], "wheel", "--profile", "dev", "--out", str(out)], check=True)
    return out


@pytest.fixture(scope="module")
def python(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an empty environment, into which `telemetryd[daemon]` was installed."""
    venv = tmp_path_factory.mktemp("empty")
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    # Others than its owner run it too.
    for path in (venv, *list(venv.parents)[:2]):
        path.chmod(0o755)
    found = venv / "bin/python"
    command = [str(found), "-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(wheels)]
    subprocess.run([*command, "telemetryd[daemon]"], check=True)
    return found


class Tool:
    """A script with its manifest, and how it is run."""

    def __init__(self, home: Home, python: Path) -> None:
        self.home, self.python = home, python
        self.script = home.write("home/tool/main.py", SCRIPT)
        home.write("home/tool/telemetry.toml", MANIFEST)

    def run(self, under: list[str]) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in self.home.environment.items() if name != "TELEMETRYD_SOCKET"}
        command = [*under, str(self.python), str(self.script)]
        return subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, timeout=60, check=False)

    def stop(self) -> None:
        program = self.python.parent / "telemetryctl"
        command = [*SOMEBODY, str(program), "--socket", str(self.home.socket), "stop"]
        subprocess.run(command, env=self.home.environment, capture_output=True, timeout=60, check=False)
        until = time.monotonic() + 30
        while self.home.socket.exists() and time.monotonic() < until:
            time.sleep(0.01)


@pytest.fixture
def tool(home: Home, python: Path) -> Iterator[Tool]:
    found = Tool(home, python)
    yield found
    found.stop()


def test_three_lines_and_a_manifest_and_an_event_arrives(tool: Tool, sink: Sink) -> None:
    tool.home.write(tool.home.config / "config.toml", destination(sink))
    done = tool.run(SOMEBODY)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (event,) = sink.wait(1)
    assert (event["tool"], event["event"], event["properties"]) == ("mytool", "ran", {"n": 3})


def test_no_daemon_no_network_and_a_read_only_home_is_nothing_worse_than_nothing(tool: Tool) -> None:
    root = tool.home.root
    setup = f'mount --bind {root} {root} && mount -o remount,bind,ro {root} && exec "$0" "$@"'
    under = ["unshare", "--mount", "--net", "--map-root-user", "sh", "-c", setup, *SOMEBODY]
    begun = time.monotonic()
    done = tool.run(under)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - begun < 10
    assert not (tool.home.state / "spool").exists() and not tool.home.socket.exists()


def test_the_wheels_hold_what_they_should(wheels: Path) -> None:
    names: dict[str, Any] = {}
    for wheel in wheels.glob("*.whl"):
        names[wheel.name.split("-")[0]] = zipfile.ZipFile(wheel).namelist()
    assert {Path(name).name for name in names["telemetryd_bin"] if "scripts/" in name} == {"telemetryd", "telemetryctl"}
    client = names["telemetryd"]
    assert "telemetryd/py.typed" in client and not any(name.endswith((".so", ".pyc")) for name in client)
    assert [path.name for path in wheels.glob("telemetryd-*.whl")] == ["telemetryd-0.1.0-py3-none-any.whl"]


def test_the_programs_are_those_of_the_package(python: Path) -> None:
    text = "from telemetryd import _start, testing\nprint(_start.program(), testing.program('telemetryctl'))"
    done = subprocess.run([str(python), "-c", text], capture_output=True, text=True, env={}, check=True)
    beside = python.parent
    assert done.stdout.split() == [str(beside / "telemetryd"), str(beside / "telemetryctl")]
    shown = subprocess.run([str(beside / "telemetryctl"), "--version"], capture_output=True, text=True, check=True)
    assert "0.1.0" in shown.stdout, json.dumps(shown.stdout)
