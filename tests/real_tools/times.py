"""How long each real tool's command takes, by where its telemetry goes: off, straight to the vendor, and through
telemetryd, with the vendor's endpoint in health, refusing, hanging, and behind a name server that is silent. Prints a
table of medians:

    TELEMETRYD_BIN=target/release/telemetryd TELEMETRYCTL_BIN=target/release/telemetryctl \\
        $(cargo xtask venv real-tools tests/real_tools/requirements.txt) tests/real_tools/times.py --runs 5

A silent name server needs root, for a /etc/resolv.conf that only the processes of this program see.
"""

import argparse
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


def median(tool, endpoint, more, runs):
    times = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as place:
            times.append(tool(place).run(endpoint, more))
    return statistics.median(times)


def rows(place, runs):
    hanging = Hanging()
    refused = f"http://127.0.0.1:{tools.free_port()}"
    names = silent_names(place)
    with Sink(place) as sink:
        vendors = {"well": sink.url, "refusing": refused, "hanging": hanging.url}
        if names:
            vendors["name server silent"] = "http://collector.example.org"
        yield "off", "", lambda tool: median(tool, sink.url + PATHS[tool], OFF, runs)
        for word, url in vendors.items():
            by_name = word == "name server silent"

            def direct(tool, url=url, by_name=by_name):
                before = tools.BEFORE
                tools.BEFORE = names[0] if by_name else []
                try:
                    return median(tool, url + PATHS[tool], None, runs)
                finally:
                    tools.BEFORE = before

            yield "straight", word, direct
        for word, url in vendors.items():
            by_name = word == "name server silent"
            with Daemon(Path(place) / word.replace(" ", "-"), url, before=names[0] if by_name else []) as daemon:
                yield "telemetryd", word, lambda tool: median(tool, daemon.gateway + PATHS[tool], None, runs)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=5)
    runs = arguments.parse_args().runs
    print(f"medians of {runs}, in seconds; of Evidently one answer of its service, of the others a whole command\n")
    print("| telemetry | the vendor's endpoint | kedro run | dlt pipeline | evidently ui |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        for telemetry, vendor, measure in rows(place, runs):
            cells = " | ".join(f"{measure(tool):.2f}" for tool in [Kedro, Dlt, Evidently])
            print(f"| {telemetry} | {vendor} | {cells} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
