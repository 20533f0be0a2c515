"""What stops the real Kedro, dlt and Evidently at the gateway: each its own switch and no other's, and all three at once the
admin's file; and Evidently's sender where it can only be told of a proxy. Run by `cargo ci`, and by hand (after
`cargo build -p telemetryd -p telemetryctl`):

    TELEMETRYD_BIN=target/debug/telemetryd TELEMETRYCTL_BIN=target/debug/telemetryctl \\
        $(cargo xtask venv real-tools tests/real_tools/requirements.txt) tests/real_tools/switches.py
"""

import sys
import tempfile
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from through import PATHS, Daemon
from tools import Dlt, Evidently, Kedro, Sink

# What turns each off by itself. (Evidently's service reads this one wrongly, and sends: it holds here all the same.)
SWITCHES = {
    Kedro: {"KEDRO_DISABLE_TELEMETRY": "1"},
    Dlt: {"RUNTIME__DLTHUB_TELEMETRY": "false"},
    Evidently: {"ITERATIVE_DO_NOT_TRACK": "1"},
}


def until(what, look, seconds=60):
    end = time.monotonic() + seconds
    while not look():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


class Switches(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.place = Path(folder.name)
        self.machine = self.place / "machine"
        self.machine.mkdir()
        with ThreadPoolExecutor() as pool:
            self.tools = dict(zip(PATHS, pool.map(lambda tool: tool(self.place), PATHS)))

    def daemon(self, sink):
        machine = ["env", f"TELEMETRYD_MACHINE_DIR={self.machine}"]
        return Daemon(self.place / "telemetryd", sink.url, machine)

    def run_all(self, daemon, variables):
        """All three at once, each with its own variables."""
        with ThreadPoolExecutor() as pool:
            runs = [
                pool.submit(tool.run, daemon.gateway + PATHS[kind], variables.get(kind))
                for kind, tool in self.tools.items()
            ]
            for run in runs:
                run.result()

    def test_each_is_stopped_by_its_own_switch_and_by_no_other(self):
        with Sink(self.place) as sink, self.daemon(sink) as daemon:
            self.run_all(daemon, SWITCHES)
            until("Evidently's event is declined", lambda: daemon.declined("evidently"))
            self.assertEqual((daemon.queued(), sink.events()), (0, []))
            kinds = list(PATHS)
            self.run_all(daemon, {kind: SWITCHES[kinds[at - 1]] for at, kind in enumerate(kinds)})
            wanted = sum(len(kind.events) for kind in kinds)
            self.assertEqual(len(sink.wait_for(wanted)), wanted)

    def test_the_admins_file_stops_all_three_at_once(self):
        with Sink(self.place) as sink, self.daemon(sink) as daemon:
            (self.machine / "opt-out").touch()
            until("nobody listens", lambda: daemon.ask({"op": "status"})["gateway"]["state"] == "closed")
            self.run_all(daemon, {})
            self.assertEqual((daemon.queued(), sink.requests()), (0, []))
            (self.machine / "opt-out").unlink()
            until("it listens again", lambda: daemon.ask({"op": "status"})["gateway"]["state"] == "listening")

# Evidently's own tracker and token (evidently/telemetry.py), with its sender of events.
SENDER = """
from iterative_telemetry import IterativeTelemetryLogger
url = "http://35.232.253.5:8000/api/v1/s2s/event?ip_policy=strict"
logger = IterativeTelemetryLogger("evidently", "0.7.23", url=url, token="evidentlys-token")
logger.send_event("collector", "startup")
"""


class ByProxy(unittest.TestCase):
    def test_evidentlys_sender_reaches_the_gateway_as_its_http_proxy(self):
        with tempfile.TemporaryDirectory() as folder, Sink(folder) as sink:
            place = Path(folder)
            with Daemon(place / "telemetryd", sink.url) as daemon:
                more = daemon.place / "config/telemetryd/config.d/proxy.toml"
                more.parent.mkdir()
                key = '"evidentlys-token" = { tool = "evidently", notice = "tool" }'
                more.write_text(f'[gateway]\nproxy_hosts = ["35.232.253.5:8000"]\n[gateway.keys]\n{key}\n')
                daemon.ask({"op": "reload"})
                Evidently(place).command([sys.executable, "-c", SENDER], {"HTTP_PROXY": daemon.gateway})
                [event] = sink.wait_for(1)
                self.assertEqual((event["event"], event["properties"]["interface"]), ("startup", "collector"))


if __name__ == "__main__":
    unittest.main()
