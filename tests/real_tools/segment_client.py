"""Segment's own Python client (and what its subclasses inherit) against the gateway: batches, plain and packed, and its
reading of our answers. Run by `cargo ci`, and by hand (after `cargo build -p telemetryd -p telemetryctl`):

    TELEMETRYD_BIN=target/debug/telemetryd TELEMETRYCTL_BIN=target/debug/telemetryctl \\
        $(cargo xtask venv real-tools-encodings tests/real_tools/requirements-encodings.txt) \\
        tests/real_tools/segment_client.py
"""

import tempfile
import unittest
from pathlib import Path

from segment.analytics.client import Client
from segment.analytics.request import APIError, post

from through import Daemon
from tools import Sink

MANIFEST = 'name = "shop"\nconsent = "opt-out"\n[events.Bought]\nproperties.price = "number"\n[events.page]\n'


class SegmentsClient(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.place = Path(place.name)

    def daemon(self, sink):
        daemon = Daemon(self.place / "telemetryd", sink.url)
        (daemon.place / "data/telemetryd/tools.d/shop.toml").write_text(MANIFEST)
        more = daemon.place / "config/telemetryd/config.d/shop.toml"
        more.parent.mkdir()
        more.write_text(
            f'[destinations.default]\nurl = "{sink.url}/v1/events"\nbatch = {{ max_wait = "50ms" }}\n'
            '[gateway.keys]\n"shops-key" = "shop"\n'
        )
        daemon.ask({"op": "reload"})
        return daemon

    def test_what_it_tracks_is_queued_and_its_traits_are_not(self):
        with Sink(self.place) as sink, self.daemon(sink) as daemon:
            failures = []
            for gzip in [False, True]:
                client = Client(
                    "shops-key",
                    host=daemon.gateway,
                    gzip=gzip,
                    max_retries=1,
                    on_error=lambda error, _: failures.append(error),
                )
                client.identify("u-1", {"email": "alice@example.org"})
                for price in range(50):
                    client.track("u-1", "Bought", {"price": price, "secret": "unlisted"})
                client.page("u-1", "Shop", "Home")
                client.flush()
                client.join()
            self.assertEqual(failures, [])
            events = sink.wait_for(102)
            self.assertEqual(len(events), 102)
            bought = [event for event in events if event["event"] == "Bought"]
            self.assertEqual(sorted(event["properties"]["price"] for event in bought), sorted(2 * list(range(50))))
            self.assertTrue(all(set(event["properties"]) == {"price"} for event in bought))
            self.assertNotIn("alice", sink.out.read_text())

    def test_it_understands_why_it_is_refused(self):
        with Sink(self.place) as sink, self.daemon(sink) as daemon:
            gateway = daemon.gateway
            call = {"type": "track", "userId": "u", "event": "Bought"}
            self.assertEqual(post("shops-key", gateway, batch=[call]).status_code, 200)
            for key, batch, status in [("anothers-key", [call], 401), ("shops-key", [call, {"type": "track"}], 400)]:
                with self.assertRaises(APIError) as raised:
                    post(key, gateway, batch=batch)
                self.assertEqual(raised.exception.status, status)


if __name__ == "__main__":
    unittest.main()
