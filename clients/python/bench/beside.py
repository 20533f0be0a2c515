"""The wall time that telemetry adds to a command: what a tool's author would pick instead, and telemetryd, each with
its endpoint healthy, hanging, refused and behind a silent name server; and with the daemon absent, wedged and killed.

    PYTHON=$(cargo xtask venv beside clients/python/bench/requirements.txt)
    cargo build --release -p telemetryd -p telemetryctl && cargo build --release -p telemetry-client --example beside
    TELEMETRYD_BIN=… TELEMETRYCTL_BIN=… $PYTHON clients/python/bench/beside.py --rust target/release/examples/beside

Median and 95th percentile of what one event adds to a small click command, to a Rust program and to `true`, in
milliseconds. It runs itself in a
network namespace of its own (root, or user namespaces), so that no name server and no endpoint of anybody's is asked.
Rows that wait for a timeout run several at once, for they only wait.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

SOURCES = str(Path(__file__).parents[1] / "src")
sys.path.insert(0, SOURCES)

from telemetryd.testing import Daemon, Home, Sink  # noqa: E402
from telemetryd.testing._programs import program  # noqa: E402

#: Unknown to everybody (RFC 6761).
NAME = "telemetry.test"
#: Rows slower than this (seconds) run several at once, if they only wait.
SLOW = 0.5

MANIFEST = """
name = "mytool"
consent = "opt-out"
notice_required = "tool"
[events.command]
properties.command = { type = "string", mask = "command" }
properties.exit_status = "integer"
"""

COMMAND = """
import click
@click.command()
@click.option("--env")
def run(env): ...
run(["--env", "prod"], standalone_mode=False)
"""

IN_PROCESS = {
    "nothing": "",
    "requests.post": """
import os, requests
try: requests.post(os.environ["URL"], json={"event": "command", "properties": {"exit_status": 0}}, timeout=10)
except requests.RequestException: pass
""",
    "segment-analytics-python": """
import os, segment.analytics as analytics
analytics.write_key, analytics.host = "key", os.environ["URL"].rstrip("/")
analytics.track("me", "command", {"exit_status": 0})
""",
    "telemetryd, Python": f"""
from telemetryd import Telemetry
Telemetry("mytool", {MANIFEST!r}).event("command", command="x", exit_status=0)
""",
}


def timed(command: list[str], env: dict[str, str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (time.perf_counter() - begun) * 1e3


def only_waits(command: list[str], env: dict[str, str]) -> bool:
    """Whether most of a long time is not the processor's."""
    before = os.times()
    took = timed(command, env) / 1e3
    after = os.times()
    busy = after.children_user + after.children_system - before.children_user - before.children_system
    return took > SLOW and busy < took / 4


def measure(command: list[str], bare: list[str], env: dict[str, str], runs: int) -> tuple[float, float]:
    """Median and 95th percentile of what ``command`` takes beyond ``bare``, in turns: a busy machine is so for both."""

    def pair(_: int) -> float:
        without = timed(bare, env)
        return timed(command, env) - without

    with ThreadPoolExecutor(5 if only_waits(command, env) else 1) as pool:
        added = sorted(pool.map(pair, range(runs)))
    return statistics.median(added), added[round(0.95 * (len(added) - 1))]


@contextmanager
def endpoint(state: str) -> Iterator[str]:
    """The address of an endpoint in that state."""
    if state == "healthy":
        with Sink() as sink:
            yield sink.url
        return
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    port = listener.getsockname()[1]
    if state == "refused":
        listener.close()
    # A hanging one takes the connection into its backlog and never says a word.
    yield f"https://{NAME}/" if state == "name server silent" else f"http://127.0.0.1:{port}/"
    listener.close()


@contextmanager
def daemon(home: Home, url: str, state: str) -> Iterator[None]:
    """A daemon in that state, that would send there."""
    home.write(home.config / "config.toml", f'[destinations.default]\nurl = "{url}"\nbatch = {{ max_wait = "20ms" }}\n')
    if state == "absent":
        yield
    elif state == "wedged":
        home.socket.parent.mkdir(parents=True, exist_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(home.socket))
            listener.listen(0)
            held = []
            while True:
                client = socket.socket(socket.AF_UNIX)
                client.setblocking(False)
                held.append(client)
                try:
                    client.connect(str(home.socket))
                except BlockingIOError:
                    break
            yield
    elif state == "killed":
        stop = threading.Event()

        def kill() -> None:
            while not stop.is_set():
                with Daemon(home) as running:
                    stop.wait(0.3)
                    running.kill()
                stop.wait(0.1)

        killer = threading.Thread(target=kill)
        killer.start()
        yield
        stop.set()
        killer.join()
    else:
        with Daemon(home):
            yield


def rows(runs: int, rust: str | None, ours: bool) -> Iterator[tuple[str, str, tuple[float, float]]]:
    """Every row: who, what the surroundings are, and what it adds."""
    python = [sys.executable, "-c"]
    bare = [*python, COMMAND]
    shell = ["/bin/sh", "-c", "true"]
    send = ["/bin/sh", "-c", f"true; {program('telemetryctl')} send --ack none mytool command -p exit_status=0"]
    states = ("healthy", "hanging", "refused", "name server silent")
    cases = [("endpoint " + state, state, "running") for state in states]
    cases += [("daemon " + state, "healthy", state) for state in ("absent", "wedged", "killed")]
    for shown, reached, state in cases:
        with endpoint(reached) as url, Home() as home:
            env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": SOURCES, "URL": url, **home.environment}
            if state == "running" and not ours:
                for who in ("requests.post", "segment-analytics-python"):
                    yield who, shown, measure([*python, COMMAND + IN_PROCESS[who]], bare, env, runs)
            home.write("data/telemetryd/tools.d/mytool.toml", MANIFEST)
            with daemon(home, url, state):
                who = "telemetryd, Python"
                yield who, shown, measure([*python, COMMAND + IN_PROCESS[who]], bare, env, runs)
                if rust:
                    yield "telemetryd, Rust", shown, measure([rust, "report"], [rust], env, runs)
                yield "telemetryd, shell", shown, measure(send, shell, env, runs)


@contextmanager
def silent_name_server() -> Iterator[None]:
    """Takes every question and answers none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 53))
        yield


def apart(again: Callable[[], int]) -> int:
    """Runs this program once more, in namespaces of its own, where the loopback and a name server are all there is."""
    if os.environ.get("BESIDE_APART"):
        return again()
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as resolv:
        resolv.write("nameserver 127.0.0.1\n")
        resolv.flush()
        setup = f'ip link set lo up && mount --bind {resolv.name} /etc/resolv.conf && exec "$0" "$@"'
        command = ["unshare", "--net", "--mount", "--map-root-user", "sh", "-c", setup, sys.executable, *sys.argv]
        return subprocess.run(command, env={**os.environ, "BESIDE_APART": "1"}, check=False).returncode


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--rust", help="the example `beside` of telemetry-client; without it the row is left out")
    parser.add_argument(
        "--ours", action="store_true", help="telemetryd alone: it does not wait, and is done in a minute"
    )
    asked = parser.parse_args()
    runs = asked.runs
    for name in ("DO_NOT_TRACK", "CI"):
        os.environ.pop(name, None)

    def again() -> int:
        print(f"what one event adds to a click command, a Rust program or `true`, of {runs} runs, in ms: median, p95")
        with silent_name_server():
            for who, where, (median, p95) in rows(runs, asked.rust, asked.ours):
                print(f"{where:<30} {who:<26} {median:>10.1f} {p95:>10.1f}", flush=True)
        return 0

    return apart(again)


if __name__ == "__main__":
    sys.exit(main())
