"""What a tool never notices: no wait past the deadline, no exception, no output, no exit code of ours."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import run

from telemetryd import Telemetry, _connect, _way
from telemetryd.testing import Daemon, Home, Sink

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

#: Scheduling on a busy machine; the deadline itself is 20 ms.
SLACK = 0.15


@pytest.fixture(autouse=True)
def nothing_is_wedged() -> Iterator[None]:
    _way._wedged_until.clear()
    yield
    _way._wedged_until.clear()


def listener(home: Home, backlog: int) -> socket.socket:
    home.socket.parent.mkdir(parents=True, exist_ok=True)
    found = socket.socket(socket.AF_UNIX)
    found.bind(str(home.socket))
    found.listen(backlog)
    return found


def fill(home: Home) -> list[socket.socket]:
    """Connects until the backlog takes no more."""
    held = []
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        held.append(client)
        try:
            client.connect(str(home.socket))
        except BlockingIOError:
            return held


def timed(telemetry: Telemetry) -> tuple[bool, float]:
    begun = time.monotonic()
    done = telemetry.event("ran", n=1)
    return done, time.monotonic() - begun


def test_a_full_backlog_costs_the_deadline_once_and_then_the_spool_is_used(home: Home) -> None:
    telemetry = Telemetry("mytool", MANIFEST)
    assert telemetry.event("ran", n=0), "kept, for there is no daemon"
    with listener(home, 0):
        held = fill(home)
        kept, took = timed(telemetry)
        assert kept and 0.015 < took < 0.020 + SLACK, took
        kept, took = timed(telemetry)
        assert kept and took < 0.010, took
        # Another process knows it too, and does not ask.
        asks = "from telemetryd import _connect\n_connect.connect = lambda *_: print('asked')\n"
        done = run(TOOL + asks + "assert telemetry.event('ran', n=1)\n")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        for client in held:
            client.close()
    assert len(list(home.state.glob("spool/*.ndjson"))) == 4


def test_without_a_spool_a_wedged_daemon_costs_the_deadline_once_too(home: Home) -> None:
    home.write(home.machine / "policy.d/10.toml", "")
    telemetry = Telemetry("mytool", MANIFEST)
    with listener(home, 0):
        held = fill(home)
        lost, took = timed(telemetry)
        assert not lost and took < 0.020 + SLACK
        lost, took = timed(telemetry)
        assert not lost and took < 0.010
        for client in held:
            client.close()
    assert not (home.state / "spool").exists()


def test_room_in_the_backlog_is_used_at_once(home: Home) -> None:
    telemetry = Telemetry("mytool", deadline=5.0)
    with listener(home, 0) as server:
        held = fill(home)

        def accept() -> None:
            time.sleep(0.05)
            held.append(server.accept()[0])

        thread = threading.Thread(target=accept)
        thread.start()
        done, took = timed(telemetry)
        thread.join()
        assert done and 0.03 < took < 2.0, took
        for client in held:
            client.close()


def test_a_daemon_that_accepts_and_never_reads_does_not_hold_its_client(home: Home) -> None:
    telemetry = Telemetry("mytool")
    with listener(home, 4096) as server:
        took = [timed(telemetry)[1] for _ in range(200)]
        assert max(took) < 0.020 + SLACK
        # Not even with a line that no buffer takes.
        _way._wedged_until.clear()
        connection = _connect.connect([str(home.socket)], time.monotonic() + 1)
        assert isinstance(connection, _connect.Connection)
        begun = time.monotonic()
        try:
            sent = connection.send(b"x" * 4_000_000, begun + 0.020)
        except BlockingIOError:
            sent = False
        assert not sent and time.monotonic() - begun < 0.020 + SLACK
        connection.close()
        server.close()


def test_a_daemon_that_is_killed_in_the_middle_is_not_noticed(home: Home, sink: Sink) -> None:
    telemetry = Telemetry("mytool", MANIFEST)
    with Daemon(home, sink) as daemon:
        assert telemetry.event("ran", n=1)
        killer = threading.Timer(0.05, daemon.kill)
        killer.start()
        until, slowest = time.monotonic() + 0.3, 0.0
        while time.monotonic() < until:
            kept, took = timed(telemetry)
            slowest = max(slowest, took)
        killer.join()
    assert kept, "the last ones wait in the spool"
    assert slowest < 0.020 + SLACK


def test_a_hosts_default_timeout_is_not_ours(home: Home, daemon: Daemon, sink: Sink) -> None:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0.000001)
    try:
        assert Telemetry("mytool", MANIFEST.replace("[events.ran]\nproperties.n", 'events = "any"\n#')).event("ran")
    finally:
        socket.setdefaulttimeout(before)
    sink.wait(1)


def test_nothing_is_raised_whatever_is_handed_in(home: Home) -> None:
    class Hostile:
        def __index__(self) -> int:
            raise RuntimeError

        def __str__(self) -> str:
            raise RuntimeError

    loop: list[object] = []
    loop.append(loop)
    telemetry = Telemetry("mytool", MANIFEST)
    for value in (Hostile(), loop, object(), 2**4000, float("nan"), "\udcff\0", b"x", {1: 2}, lambda: 0, "x" * 10**6):
        telemetry.event("ran", n=value)
    for name in ("", "x" * 1000, "\udcff", "\n"):
        telemetry.event(name)
    telemetry.event(None)  # type: ignore[arg-type]
    Telemetry("No Tool", "not toml").event("x")
    Telemetry.from_manifest("mytool", "/nowhere/at/all").event("x")
    Telemetry("mytool", MANIFEST, before_send=lambda event: 1 / 0).event("ran")  # type: ignore[arg-type,return-value]
    Telemetry("mytool", MANIFEST, project_dir="\0").event("ran")
    telemetry.mask([Hostile()], 7)  # type: ignore[list-item]
    telemetry.attach(object())
    assert telemetry.decision() is not None


def test_nothing_is_printed_and_no_exit_code_changed_at_the_end_of_a_process(home: Home) -> None:
    done = run(
        TOOL + "import atexit, sys\n"
        "atexit.register(lambda: telemetry.event('ran', n=1))\n"
        "class Late:\n"
        "    def __del__(self): telemetry.event('ran', n=2)\n"
        "late = Late()\nsys.modules['late'] = late\n"
        "sys.exit(7)\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
    assert len(list(home.state.glob("spool/*.ndjson"))) >= 1


def test_a_child_and_its_parent_report_side_by_side(home: Home, daemon: Daemon, sink: Sink) -> None:
    manifest = MANIFEST.replace("[events.ran]\nproperties.n", 'events = "any"\n#')
    done = run(
        f"import os\nfrom telemetryd import Telemetry\ntelemetry = Telemetry('mytool', {manifest!r})\n"
        "assert telemetry.event('parent')\n"
        "if os.fork() == 0:\n    os._exit(0 if telemetry.event('child') else 1)\n"
        "assert os.wait()[1] == 0\nassert telemetry.event('parent')\n"
    )
    assert done.returncode == 0, done.stderr
    assert sorted(event["event"] for event in sink.wait(3)) == ["child", "parent", "parent"]


def test_no_daemon_and_a_read_only_home_is_nothing_worse_than_nothing(home: Home) -> None:
    read_only = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    read_only += [f'mount --bind {home.root} {home.root} && mount -o remount,bind,ro {home.root} && exec "$0" "$@"']
    program = TOOL + "import time\nb = time.monotonic()\nprint(telemetry.event('ran', n=1))\n"
    done = run(program, under=read_only)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")
    assert not any(path.is_file() for path in home.root.rglob("*"))


def test_where_no_unix_socket_can_be_consent_is_read_and_nothing_else_happens(home: Home) -> None:
    windows = "import _socket, os\ndel _socket.AF_UNIX\n" + "".join(
        f"del os.{name}\n"
        for name in ("getuid", "geteuid", "fork", "posix_spawn", "O_NONBLOCK", "O_CLOEXEC", "O_NOFOLLOW")
    )
    done = run(windows + TOOL + "print(telemetry.decision().allowed, telemetry.event('ran', n=1))")
    assert (done.returncode, done.stdout, done.stderr) == (0, "True False\n", "")
    home.write(home.config / "consent.toml", "[tools]\nmytool = false\n")
    done = run(windows + TOOL + "print(telemetry.decision().by, telemetry.event('ran', n=1))")
    assert (done.returncode, done.stdout, done.stderr) == (0, "user False\n", "")
    notice = MANIFEST.replace('notice_required = "tool"', 'notice = "we count"\nnotice_required = true')
    text = f"from telemetryd import Telemetry\nprint(Telemetry('mytool', {notice!r}).notice())"
    assert run(windows + text).stdout == "None\n"
    assert not home.state.exists()
    assert not (home.state / "spool").exists()


@pytest.mark.parametrize("variable", ["DO_NOT_TRACK", "MYTOOL_OFF"])
def test_a_denial_from_the_environment_makes_no_file_and_opens_no_socket(
    home: Home, variable: str, tmp_path: Path
) -> None:
    manifest = 'opt_out_env = ["MYTOOL_OFF"]\n' + MANIFEST.lstrip()
    program = f"from telemetryd import Telemetry\nt = Telemetry('mytool', {manifest!r})\nprint(t.event('ran', n=1))\n"
    trace = tmp_path / "trace"
    under = [
        "strace",
        "-f",
        "-o",
        str(trace),
        "-e",
        "trace=network,openat,open,creat,mkdir,mkdirat,rename,link,symlink",
    ]
    done = run(program, under=under, env={variable: ""})
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")
    calls = trace.read_text().splitlines()
    assert any("telemetryd" in call for call in calls), "the trace saw the client"
    made = [
        call for call in calls if any(word in call for word in ("socket(", "connect(", "O_CREAT", "mkdir", "rename"))
    ]
    assert not made
    assert os.listdir(home.root / "state") == []
