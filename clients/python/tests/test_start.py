"""A daemon for whoever has none."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import SOMEBODY, SOURCES, run

from telemetryd import Telemetry, _places, _start
from telemetryd.testing import Daemon, Home, Sink
from telemetryd.testing._programs import destination, program

MANIFEST = """
name = "mytool"
consent = "opt-out"
notice_required = "tool"
[events.ran]
properties.n = "integer"
"""

TOOL = f"""
from telemetryd import Telemetry
telemetry = Telemetry("mytool", {MANIFEST!r})
"""

pytestmark = pytest.mark.skipif(os.path.exists(_places.SYSTEM_SOCKET), reason="this machine has a daemon of its own")


class Installed:
    """This package and the daemon side by side, as `pip install --target` leaves them; nobody's service manager."""

    def __init__(self, home: Home, site: Path) -> None:
        self.home, self.site = home, site
        shutil.copytree(f"{SOURCES}/telemetryd", site / "telemetryd", ignore=shutil.ignore_patterns("__pycache__"))
        (site / "bin").mkdir()
        self.program = site / "bin/telemetryd"
        self.program.symlink_to(program("telemetryd"))

    def run(self, text: str, **environment: str) -> Any:
        return run(
            TOOL + text,
            under=SOMEBODY,
            env={"PYTHONPATH": str(self.site), "SECRET_TOKEN": "s3cret", **environment},
            unset=["TELEMETRYD_SOCKET", "TELEMETRYD_BIN"],
        )

    def wait(self) -> socket.socket:
        until = time.monotonic() + 30
        while True:
            probe = socket.socket(socket.AF_UNIX)
            try:
                probe.connect(str(self.home.socket))
                return probe
            except OSError:
                probe.close()
                assert time.monotonic() < until, "no daemon came"
                time.sleep(0.005)

    def ask(self, **request: Any) -> Any:
        with self.wait() as connection, connection.makefile("rwb") as lines:
            lines.write(json.dumps(request).encode() + b"\n")
            lines.flush()
            return json.loads(lines.readline())


@pytest.fixture
def installed(home: Home, sink: Sink, tmp_path: Path) -> Iterator[Installed]:
    home.write(home.config / "config.toml", destination(sink))
    found = Installed(home, tmp_path / "site")
    yield found
    if home.socket.exists():
        found.ask(op="stop", drain_ms=0)
        until = time.monotonic() + 30
        while home.socket.exists() and time.monotonic() < until:
            time.sleep(0.005)


def test_the_first_event_starts_a_daemon_and_waits_for_nobody(installed: Installed, sink: Sink) -> None:
    done = installed.run("import time\nprint(telemetry.event('ran', n=1))")
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
    pid = installed.ask(op="status")["daemon"]["pid"]
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    names = {variable.partition(b"=")[0].decode() for variable in variables if variable}
    assert "HOME" in names and "SECRET_TOKEN" not in names and "PYTHONPATH" not in names and "PATH" not in names
    assert b"--idle-exit\x0060s" in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    held = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}
    assert str(installed.home.state / "start.lock") in held
    assert not any(str(installed.site) in path for path in held)
    assert [event["properties"] for event in sink.wait(1)] == [{"n": 1}], "what waited in the spool was taken over"
    assert list((installed.home.state / "spool").glob("*.ndjson")) == []


def test_of_many_that_start_at_once_one_daemon_comes(installed: Installed) -> None:
    text = (
        "import os\nfor _ in range(8):\n"
        "    if os.fork() == 0:\n        telemetry.event('ran', n=1)\n        os._exit(0)\n"
        "for _ in range(8): os.wait()\n"
    )
    done = installed.run(text)
    assert (done.returncode, done.stderr) == (0, "")
    installed.ask(op="status")
    running = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            ours = str(installed.home.root).encode() in (path / "environ").read_bytes()
            if ours and str(installed.program.resolve()) == os.readlink(path / "exe"):
                running.append(path.name)
        except OSError:
            continue
    assert len(running) == 1, running


def test_an_older_daemon_that_was_started_on_demand_leaves_for_the_newer_that_is_installed(
    installed: Installed, sink: Sink
) -> None:
    assert installed.run("telemetry.event('ran', n=1)").returncode == 0
    first = installed.ask(op="status")["daemon"]["pid"]
    marker = installed.home.state / "version-asked"
    newer = "import telemetryd\ntelemetryd.__version__ = '99.0.0'\n"
    # Asked once a day, and answered within the deadline: on a busy machine by one of the next.
    sent = 1
    while not marker.exists():
        sent += 1
        assert installed.run(f"telemetry.event('ran', n={sent})").returncode == 0
    sink.wait(sent)
    assert installed.run(newer + f"telemetry.event('ran', n={sent + 1})").returncode == 0
    assert installed.ask(op="status")["daemon"]["pid"] == first, "it was asked today"
    sent += 1
    marker.unlink()
    while not marker.exists():
        sent += 1
        assert installed.run(newer + f"telemetry.event('ran', n={sent})").returncode == 0
    until = time.monotonic() + 30
    while Path(f"/proc/{first}").exists() and time.monotonic() < until:
        time.sleep(0.01)
    os.utime(installed.home.state / "start.lock", (0, 0))
    sent += 1
    assert installed.run(newer + f"telemetry.event('ran', n={sent})").returncode == 0
    assert installed.ask(op="status")["daemon"]["pid"] != first
    assert sorted(event["properties"]["n"] for event in sink.wait(sent)) == list(range(1, sent + 1))


def test_what_a_service_manager_started_is_its_own_to_replace(
    home: Home, daemon: Daemon, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telemetryd.__version__", "99.0.0")
    monkeypatch.setattr(_start, "_asked", [])
    monkeypatch.setattr(_start, "program", lambda: "/usr/bin/telemetryd")
    home.write("data/telemetryd/tools.d/mytool.toml", MANIFEST)
    assert Telemetry("mytool").event("ran", n=1) and Telemetry("mytool").event("ran", n=2)
    sink.wait(2)
    assert daemon.ask(op="status")["daemon"]["phase"] == "running"


def test_versions_are_compared_by_their_numbers() -> None:
    def older(version: str) -> bool:
        return _start._older(f'{{"ok":true,"server":"telemetryd/{version}"}}'.encode(), "0.10.0")

    assert [older(version) for version in ("0.9.9", "0.10", "0.10.0", "0.10.1", "1.0.0", "0.9.0-rc", "")] == [
        True, True, False, False, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize("why", ["variable", "ci", "policy", "socket", "denied", "writable", "absent"])
def test_none_is_started_where_nobody_wants_it(installed: Installed, why: str) -> None:
    home = installed.home
    environment = {
        "variable": {"TELEMETRYD_AUTOSTART": "0"},
        "ci": {"GITLAB_CI": "true"},
        "denied": {"DO_NOT_TRACK": "1"},
    }.get(why, {})
    if why == "policy":
        home.write("machine/policy.d/1.toml", 'on_demand = "off"\n')
    if why == "writable":
        (installed.site / "bin").chmod(0o777)
    if why == "absent":
        installed.program.unlink()
    text = "from telemetryd import _start\ntelemetry.event('ran', n=1)\nprint(_start._children)\n"
    if why == "socket":
        text = "import os\nos.environ['TELEMETRYD_SOCKET'] = '/nowhere.sock'\n" + text
    done = installed.run(text, **environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
    assert not home.socket.exists()


def test_root_starts_none() -> None:
    if os.geteuid() == 0:
        assert not _start.wanted({}, False)


def test_the_path_of_a_shell_is_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "telemetryd").write_text("#!/bin/sh\n")
    (tmp_path / "telemetryd").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _start.program() != str(tmp_path / "telemetryd")
