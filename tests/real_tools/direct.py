"""What the real tools send by themselves is still what `tests/fixtures/captures/` says: the same fields of the same kinds.
Run by `cargo ci`, and by hand (after `cargo build -p telemetryctl`):

    TELEMETRYCTL_BIN=target/debug/telemetryctl \\
        $(cargo xtask venv real-tools tests/real_tools/requirements.txt) tests/real_tools/direct.py
"""

import json
import tempfile
import unittest
from pathlib import Path

from tools import Dlt, Evidently, Kedro, Sink

CAPTURES = Path(__file__).parents[1] / "fixtures/captures"


def shape(value, path=""):
    """Every path in a value with its kind. What an object counts by name is not told apart."""
    if path.startswith(".properties.dataset_type_count."):
        path = ".properties.dataset_type_count.*"
    if isinstance(value, dict):
        below = {one for name, inner in value.items() for one in shape(inner, f"{path}.{name}")}
        return below or {(path, "dict")}
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return {(path, "number" if number else type(value).__name__)}


class WhatTheToolsSend(unittest.TestCase):
    maxDiff = None

    def check(self, tool, path, captures):
        with tempfile.TemporaryDirectory() as place, Sink(place) as sink:
            tool(place).run(sink.url + path)
            events = sink.wait_for(len(tool.events))
            self.assertEqual([event["event"] for event in events], tool.events)
            for request, name in zip(sink.requests(), captures, strict=True):
                self.assertEqual(request["status"], 200)
                theirs = json.loads((CAPTURES / f"{name}.json").read_text())["body"]
                # The sink remembers an event under our names: what is compared is what is below them.
                [found] = request["events"]
                for ours in ["properties", "context"]:
                    wanted = theirs if ours == "properties" and ours not in theirs else theirs.get(ours)
                    self.assertEqual(shape(found.get(ours), "." + ours), shape(wanted, "." + ours), name)

    def test_kedro(self):
        self.check(Kedro, "/api/track", ["kedro-new-runok-001"])

    def test_dlt(self):
        self.check(Dlt, "/dlt", [f"dlt-pipeline-run-00{number}" for number in range(1, 5)])

    def test_evidently(self):
        self.check(Evidently, "/api/v1/s2s/event?ip_policy=strict", ["ev-ui-001"])


if __name__ == "__main__":
    unittest.main()
