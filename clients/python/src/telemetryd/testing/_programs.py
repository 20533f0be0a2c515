"""The real programs: an endpoint and a daemon, started for a test and ended with it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from .._start import program as installed
from ._home import Home

#: The variables that name the programs.
PROGRAMS = ("TELEMETRYD_BIN", "TELEMETRYCTL_BIN")

#: Seconds after which a test that waits gives up.
PATIENCE = 30.0


def program(name: str) -> str:
    """The path of ``telemetryd`` or ``telemetryctl``."""
    named = os.environ.get(f"{name.upper()}_BIN")
    if named:
        return named
    daemon = installed()
    beside = daemon and os.path.join(os.path.dirname(daemon), name)
    if beside and os.path.exists(beside):
        return beside
    raise FileNotFoundError(f"no {name}: pip install 'telemetryd[daemon]', or name it in {name.upper()}_BIN")


class Sink:
    """``telemetryctl sink``: an endpoint on loopback that remembers what arrives; a context manager.

    :param script: how it misbehaves, as ``telemetryctl sink --script`` reads it.
    """

    def __init__(self, script: Path | None = None) -> None:
        arguments = [program("telemetryctl"), "--json", "sink"]
        if script:
            arguments += ["--script", str(script)]
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        #: Where it listens.
        self.url: str = json.loads(self._process.stdout.readline())["url"]
        self._requests: list[dict[str, Any]] = []
        self._arrived = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._arrived:
                self._requests.append(json.loads(line))
                self._arrived.notify_all()

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The requests so far, decoded, oldest first."""
        with self._arrived:
            return list(self._requests)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of the requests so far."""
        return [event for request in self.requests for event in request.get("events") or []]

    def wait(self, number: int, patience: float = PATIENCE) -> list[dict[str, Any]]:
        """Waits until that many events have arrived and returns all; an ``AssertionError`` if they do not."""
        with self._arrived:
            self._arrived.wait_for(lambda: len(self.events) >= number, patience)
        events = self.events
        assert len(events) >= number, f"{len(events)} of {number} events arrived: {events}"
        return events

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, _: TracebackType | None) -> None:
        _end(self._process)
        self._reader.join()
        if self._process.stdout:
            self._process.stdout.close()


class Daemon:
    """``telemetryd`` in the foreground, in a home of its own, with the sink as its one destination; a context
    manager.

    :param config: more of ``config.toml``.
    """

    def __init__(self, home: Home, sink: Sink | None = None, config: str = "") -> None:
        self.home = home
        if sink:
            home.write(home.config / "config.toml", f"{config}\n{destination(sink)}")
        self._log = open(home.root / "log", "ab")  # noqa: SIM115
        self._process = subprocess.Popen(
            [program("telemetryd")],
            env={"PATH": os.environ.get("PATH", ""), **home.environment},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        self._wait_until_ready()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What it said."""
        return (self.home.root / "log").read_text(encoding="utf-8", errors="replace")

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            assert self._process.poll() is None, f"the daemon has ended: {self.log}"
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(self.home.socket))
                    return
                except OSError:
                    time.sleep(0.005)
        raise AssertionError(f"the daemon is not ready: {self.log}")

    def ask(self, **request: Any) -> dict[str, Any]:
        """One request and its answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(self.home.socket))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answers:
                answer: dict[str, Any] = json.loads(answers.readline())
                return answer

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, _: TracebackType | None) -> None:
        _end(self._process)
        self._log.close()


def destination(sink: Sink) -> str:
    """The part of ``config.toml`` that sends everything to ``sink`` at once."""
    return (
        f'[destinations.default]\nurl = "{sink.url}"\n'
        'batch = { max_wait = "20ms" }\nretry = { initial = "50ms", max = "1s", spread = "0s" }\n'
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
