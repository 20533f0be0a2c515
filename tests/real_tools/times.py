"""How long each real tool's command takes, by where its telemetry goes: off, straight to the vendor, and through
telemetryd, with the vendor's endpoint in health, refusing, hanging, and behind a name server that is silent. Prints a
table of medians:

    TELEMETRYD_BIN=target/release/telemetryd TELEMETRYCTL_BIN=target/release/telemetryctl \\
        $(cargo xtask venv real-tools tests/real_tools/requirements.txt) tests/real_tools/times.py --runs 5

The rows take turns: a machine that is busy for a while is so for all of them. A silent name server needs root, for a
/etc/resolv.conf that only the processes of this program see.
"""

import argparse
import contextlib
import os
import socket
import statistics
import sys
import tempfile
import threading
from pathlib import Path

import tools
from through import PATHS, Daemon
from tools import Dlt, Evidently, Kedro, Sink

TOOLS = [Kedro, Dlt, Evidently]
OFF = {"DO_NOT_TRACK": "1", "RUNTIME__DLTHUB_TELEMETRY": "false"}


class Hanging:
    """Takes connections and says nothing."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.taken = []
        threading.Thread(target=self.take, daemon=True).start()

    def take(self):
        while True:
            try:
                self.taken.append(self.listener.accept()[0])
            except OSError:
                return


def silent_names(place):
    """What runs a command with a name server that never answers; `None` where that is not allowed."""
    if os.geteuid() != 0:
        return None
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.77", 53))
    file = Path(place) / "resolv.conf"
    file.write_text("nameserver 127.0.0.77\n")
    command = f'mount --bind "{file}" /etc/resolv.conf && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", command, "sh"], silent


class Row:
    """One line of the table: how the tools are started, and where each of them sends."""

    def __init__(self, telemetry, vendor, where, variables=None, before=()):
        self.telemetry, self.vendor = telemetry, vendor
        self.where, self.variables, self.before = where, variables, list(before)
        self.times = {tool: [] for tool in TOOLS}

    def run(self, tool, ready):
        tools.BEFORE, kept = self.before, tools.BEFORE
        try:
            self.times[tool].append(ready.run(self.where + PATHS[tool], self.variables))
        except OSError:
            # Somebody else's port: a free one is chosen again.
            self.times[tool].append(ready.run(self.where + PATHS[tool], self.variables))
        finally:
            tools.BEFORE = kept


def rows(place, stack):
    """Every row, with what it needs standing ready for as long as `stack` does."""
    hanging = Hanging()
    names = silent_names(place)
    sink = stack.enter_context(Sink(place))
    vendors = {"well": sink.url, "refusing": f"http://127.0.0.1:{tools.free_port()}", "hanging": hanging.url}
    silent = "name server silent"
    if names:
        stack.enter_context(names[1])
        vendors[silent] = "http://collector.example.org"
    before = {silent: names[0]} if names else {}
    yield Row("off", "", sink.url, OFF)
    for word, url in vendors.items():
        yield Row("straight", word, url, before=before.get(word, ()))
    for word, url in vendors.items():
        daemon = Daemon(Path(place) / word.replace(" ", "-"), url, before=before.get(word, ()))
        yield Row("telemetryd", word, stack.enter_context(daemon).gateway)


def one_round(table, place):
    for tool in TOOLS:
        ready = tool(place)
        # The first run in a new place makes what the others find.
        ready.run(table[0].where + PATHS[tool], OFF)
        for row in table:
            row.run(tool, ready)
        print(f"  {tool.__name__}: {[round(row.times[tool][-1], 2) for row in table]}", file=sys.stderr, flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--vendor", help="this state of the vendor's endpoint alone: well, refusing, hanging, …")
    asked = arguments.parse_args()
    runs = asked.runs
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        table = [row for row in rows(place, stack) if asked.vendor in (None, row.vendor) or not row.vendor]
        for number in range(runs):
            try:
                one_round(table, Path(place) / f"round-{number}")
            except (AssertionError, OSError) as error:
                # A machine that is too busy to start a service, a port that somebody else took: the rounds before count.
                print(error, file=sys.stderr, flush=True)
                break
            print(f"round {number + 1} of {runs}", file=sys.stderr, flush=True)
        print("medians, in seconds; of Evidently one answer of its service, of the others a whole command\n")
        print("| telemetry | the vendor's endpoint | kedro run | dlt pipeline | evidently ui |\n|---|---|---|---|---|")
        for row in table:
            cells = " | ".join(f"{statistics.median(times):.2f}" for times in row.times.values())
            print(f"| {row.telemetry} | {row.vendor} | {cells} |")


if __name__ == "__main__":
    sys.exit(main())
