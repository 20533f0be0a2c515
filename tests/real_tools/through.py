"""The real Kedro, dlt and Evidently through telemetryd, unmodified: their own HTTP goes to the gateway, and the vendor's
endpoint, played by `telemetryctl sink`, gets the vendor's form. Run by `cargo ci`, and by hand (after `cargo build`):

    TELEMETRYD_BIN=target/debug/telemetryd TELEMETRYCTL_BIN=target/debug/telemetryctl \\
        $(cargo xtask venv real-tools tests/real_tools/requirements.txt) tests/real_tools/through.py
"""

import collections
import json
import os
import socket
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from tools import Dlt, Evidently, Kedro, Sink, free_port, wait_for_port

MANIFESTS = Path(__file__).parents[2] / "config/tools.d"

# Where each tool sends: below the gateway's address.
PATHS = {Kedro: "/api/track", Dlt: "/t/dlt", Evidently: "/api/v1/s2s/event?ip_policy=strict"}
# In which encoding the sink then gets it.
ENCODINGS = {Kedro: "heap", Dlt: "segment", Evidently: "mapped"}
# How what leaves differs from what the tool sent by itself, and why; see also docs/seeds.md.
NAMED = {
    Kedro: {
        "+id",  # by which a resend is known
        "+properties.package_name",  # what versions up to 0.3 called the project's id
        "~properties.project_id",  # a digest under this user's key
        "~properties.python_version",  # without the compiler and the day that it was built
    },
    Dlt: {
        "+id", "+time", "+originalTimestamp", "+sentAt",  # dlt sends none
        "~context.os.name", "~context.os.version", "+context.os.id",  # the machine's, as the daemon knows it
        "-context.run_context",  # not documented
        "~properties.extract_data",  # kinds alone: names are the user's
        "~properties.pipeline_name_hash", "~properties.dataset_name_hash", "~properties.default_schema_name_hash",
    },
    Evidently: {"~properties.os_version"},  # the kernel's, not the distribution's
}
# What no two runs have in common.
OF_THE_RUN = {"~time", "~properties.elapsed", "~properties.transaction_id"}


def differences(sent, left, path=""):
    """The paths at which two values differ: `-` is only in the first, `+` only in the second, `~` in both."""
    if not (isinstance(sent, dict) and isinstance(left, dict)):
        return set() if sent == left else {f"~{path}"}
    found = set()
    for name in sent.keys() | left.keys():
        below = f"{path}.{name}" if path else name
        if name not in left:
            found.add(f"-{below}")
        elif name not in sent:
            found.add(f"+{below}")
        else:
            found |= differences(sent[name], left[name], below)
    return found


class Daemon:
    """A user's daemon with the shipped manifests and a gateway; all it has is below `place`."""

    def __init__(self, place, vendor, before=()):
        self.place = Path(place)
        self.port = free_port()
        self.gateway = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.place / "home"),
            "XDG_CONFIG_HOME": str(self.place / "config"),
            "XDG_DATA_HOME": str(self.place / "data"),
            "XDG_STATE_HOME": str(self.place / "state"),
            "XDG_RUNTIME_DIR": str(self.place / "run"),
            # Named, so that it counts as lasting, in a container too: without that there are no pseudonyms.
            "TELEMETRYD_STATE_DIR": str(self.place / "state/telemetryd"),
        }
        for name in ["home", "config/telemetryd", "data/telemetryd/tools.d", "state", "run"]:
            (self.place / name).mkdir(parents=True)
        (self.place / "run").chmod(0o700)
        for tool in ["kedro", "dlt", "evidently"]:
            text = (MANIFESTS / f"{tool}.toml").read_text()
            (self.place / f"data/telemetryd/tools.d/{tool}.toml").write_text(text)
        # A vendor's name may stand for one without TLS here: none of them is left alone with it.
        soon = 'allow_insecure = true\nbatch = { max_wait = "100ms" }\nretry = { initial = "50ms", max = "500ms", spread = "100ms" }\n'
        (self.place / "config/telemetryd/config.toml").write_text(
            f'[gateway]\nlisten = "127.0.0.1:{self.port}"\n'
            'keys = { "2388822444" = { tool = "kedro", notice = "tool" }, '
            '"the-token" = { tool = "evidently", notice = "tool" } }\n'
            f'[destinations.heap]\nurl = "{vendor}/api/track"\nencoding = "heap"\nform = "track"\n'
            f'auth = {{ heap_app_id = "2388822444" }}\n{soon}'
            f'[destinations.segment]\nurl = "{vendor}/"\nencoding = "segment"\nform = "track"\n{soon}'
            f'[destinations.jitsu]\nurl = "{vendor}/api/v1/s2s/event?token=t"\nencoding = "mapped"\n{soon}'
            '[tools.kedro]\ndestination = "heap"\n[tools.dlt]\ndestination = "segment"\n'
            '[tools.evidently]\ndestination = "jitsu"\n'
        )
        self.log = open(self.place / "log", "w")
        self.process = subprocess.Popen(
            [*before, os.environ["TELEMETRYD_BIN"]], env=self.environment, stdout=self.log, stderr=subprocess.STDOUT
        )
        wait_for_port(self.port, self.process, self.place / "log")
        # Nobody shows dlt's notice for it.
        self.ask({"op": "consent", "action": "noticed", "tool": "dlt"})

    def ask(self, request):
        with socket.socket(socket.AF_UNIX) as stream:
            stream.connect(str(self.place / "run/telemetryd/telemetryd.sock"))
            stream.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(stream.makefile().readline())
        assert answer["ok"], answer
        return answer

    def queued(self):
        return self.ask({"op": "status"})["queue"]["events"]

    def declined(self, tool):
        rows = [row for row in self.ask({"op": "status"})["tools"] if row["tool"] == tool]
        return sum(count for row in rows for count in row["declined"].values())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.log.close()


class Vendor:
    """An address that refuses until somebody plays the endpoint there."""

    def __init__(self, place):
        self.place = place
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def play(self):
        return Sink(self.place, "--listen", f"127.0.0.1:{self.port}")


class ThroughTheDaemon(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.place = Path(folder.name)
        self.vendor = Vendor(self.place)

    def daemon(self):
        return Daemon(self.place / "telemetryd", self.vendor.url)

    def arrived_once(self, tool, sink):
        events = sink.wait_for(len(tool.events))
        names = [event["event"] for event in events]
        self.assertEqual(collections.Counter(names), collections.Counter(tool.events))
        for request in sink.requests():
            self.assertEqual(request["encoding"], ENCODINGS[tool])
            self.assertTrue(request["headers"]["user-agent"].startswith("telemetryd/"))

    def test_every_event_arrives_once_in_its_vendors_form(self):
        for tool in PATHS:
            with self.subTest(tool.__name__):
                self.setUp()
                with self.daemon() as daemon, self.vendor.play() as sink:
                    tool(self.place).run(daemon.gateway + PATHS[tool])
                    self.arrived_once(tool, sink)

    def test_what_leaves_differs_from_what_the_tool_sent_only_as_named(self):
        for tool in PATHS:
            with self.subTest(tool.__name__):
                self.setUp()
                ready = tool(self.place)
                with self.vendor.play() as sink:
                    ready.run(self.vendor.url + PATHS[tool])
                    sent = {event["event"]: event for event in sink.wait_for(len(tool.events))}
                with self.daemon() as daemon, self.vendor.play() as sink:
                    ready.run(daemon.gateway + PATHS[tool])
                    left = {event["event"]: event for event in sink.wait_for(len(tool.events))}
                for name in tool.events:
                    self.assertLessEqual(differences(sent[name], left[name]), NAMED[tool] | OF_THE_RUN, name)
                    for path in ["project_id", "username"] if tool is Kedro else []:
                        self.assertTrue(left[name]["properties"][path])

    def test_what_was_sent_offline_arrives_when_the_endpoint_is_back(self):
        for tool in PATHS:
            with self.subTest(tool.__name__):
                self.setUp()
                with self.daemon() as daemon:
                    tool(self.place).run(daemon.gateway + PATHS[tool])
                    until = time.monotonic() + 30
                    while daemon.queued() < len(tool.events) and time.monotonic() < until:
                        time.sleep(0.05)
                    self.assertEqual(daemon.queued(), len(tool.events))
                    with self.vendor.play() as sink:
                        self.arrived_once(tool, sink)

    def test_the_machines_word_stops_all_and_a_variable_stops_each(self):
        tools = {tool: tool(self.place) for tool in PATHS}
        with self.daemon() as daemon, self.vendor.play() as sink:
            for tool, ready in tools.items():
                # dlt does not obey it by itself.
                ready.run(daemon.gateway + PATHS[tool], {"DO_NOT_TRACK": "1"})
            daemon.ask({"op": "consent", "action": "deny"})
            for tool, ready in tools.items():
                ready.run(daemon.gateway + PATHS[tool])
            # Evidently sends from a process of its own, after its answer.
            until = time.monotonic() + 30
            while not daemon.declined("evidently") and time.monotonic() < until:
                time.sleep(0.05)
            self.assertEqual((daemon.declined("dlt"), daemon.declined("evidently")), (8, 1))
            self.assertEqual(daemon.queued(), 0)
            self.assertEqual(daemon.ask({"op": "status"})["books"], [])
            daemon.ask({"op": "consent", "action": "allow"})
            tools[Dlt].run(daemon.gateway + PATHS[Dlt])
            self.arrived_once(Dlt, sink)


if __name__ == "__main__":
    unittest.main()
