"""What the client costs its host: importing it, an event with a daemon, an event that is spooled, a denial.

    TELEMETRYD_BIN=… TELEMETRYCTL_BIN=… python bench/cost.py [--events 2000] [--processes 40]

Prints medians beside their limits, and exits 1 where one is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

SOURCES = str(Path(__file__).parents[1] / "src")
sys.path.insert(0, SOURCES)

from telemetryd import Telemetry, _way  # noqa: E402
from telemetryd.testing import Daemon, Home, Sink  # noqa: E402

MANIFEST = """
name = "mytool"
consent = "opt-out"
notice_required = "tool"
[events.command]
properties.command = { type = "string", mask = "command" }
properties.duration = "number"
properties.exit_status = "integer"
"""

#: Wall milliseconds of a process, and what it does.
IMPORT = "import telemetryd"
FIRST = f"from telemetryd import Telemetry\nTelemetry('mytool', {MANIFEST!r}).event('command', duration=1.0)"


def process(text: str) -> float:
    """Milliseconds of the wall for an interpreter that runs ``text``."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", text], check=True, env={**os.environ, "PYTHONPATH": SOURCES})
    return (time.perf_counter() - begun) * 1e3


def over_a_bare_interpreter(text: str, processes: int) -> float:
    """The median of what ``text`` adds, taken in turns so that a busy machine is busy for both."""
    process(text)
    added = []
    for _ in range(processes):
        bare = process("pass")
        added.append(process(text) - bare)
    return statistics.median(added)


def median_of(call: Callable[[int], object], number: int) -> tuple[float, float]:
    """Median and 95th percentile in microseconds."""
    took = []
    for at in range(number):
        begun = time.perf_counter()
        call(at)
        took.append((time.perf_counter() - begun) * 1e6)
    took.sort()
    return statistics.median(took), took[int(len(took) * 0.95)]


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=40)
    given = parser.parse_args()
    for name in ("DO_NOT_TRACK", "CI"):
        os.environ.pop(name, None)
    missed = 0

    def row(what: str, found: float, unit: str, limit: float | None, more: str = "") -> None:
        nonlocal missed
        missed += limit is not None and found > limit
        verdict = "" if limit is None else f"limit {limit:g} {unit}  {'ok' if found <= limit else 'MISSED'}"
        print(f"{what:<44} {found:>8.2f} {unit}  {more:<18} {verdict}")

    with Home() as home, Sink() as sink:
        os.environ.update(home.environment)
        home.write(
            home.root / "data/telemetryd/tools.d/mytool.toml", 'name = "mytool"\nconsent = "opt-out"\nevents = "any"\n'
        )
        row("import telemetryd", over_a_bare_interpreter(IMPORT, given.processes), "ms", 5)
        os.environ["DO_NOT_TRACK"] = "1"
        row("a process with one event, denied", over_a_bare_interpreter(FIRST, given.processes), "ms", None)
        telemetry = Telemetry("mytool", MANIFEST)
        p50, p95 = median_of(lambda n: telemetry.event("command", duration=1.5, exit_status=0), given.events)
        row("event, denied by the environment", p50, "us", None, f"p95 {p95:.0f} us")
        del os.environ["DO_NOT_TRACK"]
        with Daemon(home, sink):
            row("a process with one event, a daemon", over_a_bare_interpreter(FIRST, given.processes), "ms", None)
            command = telemetry.mask(["run", "--env", "prod"], {"run": {"--env": 1}})

            def event(number: int) -> object:
                return telemetry.event("command", command=command, duration=1.5, exit_status=number % 3)

            p50, p95 = median_of(event, given.events)
            row("event, a daemon", p50, "us", 150, f"p95 {p95:.0f} us")
        (home.root / "data/telemetryd/tools.d/mytool.toml").write_text(MANIFEST)
        _way._wedged_until.clear()
        row("a process with one event, spooled", over_a_bare_interpreter(FIRST, given.processes), "ms", None)
        p50, p95 = median_of(event, 900)
        row("event, spooled", p50, "us", 300, f"p95 {p95:.0f} us")
        p50, p95 = median_of(event, 300)
        row("event, spooled, the spool full", p50, "us", None, f"p95 {p95:.0f} us")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
