"""The daemon's vendor bodies, read by the vendors' own packages.

The bodies are delivery's golden files, which its tests hold to what leaves. Run by `cargo ci`, and by hand:

    $(cargo xtask venv real-tools-encodings tests/real_tools/requirements-encodings.txt) tests/real_tools/encodings.py
"""

import json
import threading
import unittest
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import posthog
import yaml
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from segment.analytics.client import Client as Segment
from segment.analytics.consumer import BATCH_SIZE_LIMIT, MAX_MSG_SIZE

AT_SCALE = Path(__file__).parents[2] / "docs/at-scale"
GOLDEN = Path(__file__).parents[2] / "crates/telemetry-delivery/tests/golden"
VERSION = "0.0.0"


def golden(name):
    return (GOLDEN / name).read_text().replace("{version}", VERSION)


class Server:
    """Takes one POST after the other, and keeps their bodies."""

    def __enter__(self):
        bodies = self.bodies = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers["Content-Length"])
                bodies.append(json.loads(self.rfile.read(length)))
                answer = b'{"status": "Ok", "success": true}'
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def kind(value):
    """What a value is, where a number is a number."""
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


class SegmentTakesOurBatch(unittest.TestCase):
    def test_every_message_passes_the_checks_of_its_own_library(self):
        for name in ["segment.json", "mapped/segment.json"]:
            batch = json.loads(golden(name))
            datetime.fromisoformat(batch["sentAt"])
            for message in batch["batch"]:
                with self.subTest(name, id=message["messageId"]):
                    good, passed = Segment("key", send=False).track(
                        anonymous_id=message["anonymousId"],
                        event=message["event"],
                        properties=message["properties"],
                        context=dict(message["context"]),
                        timestamp=datetime.fromisoformat(message["timestamp"]),
                        message_id=message["messageId"],
                    )
                    self.assertTrue(good)
                    for ours in ["type", "anonymousId", "event", "messageId"]:
                        self.assertEqual(message[ours], passed[ours])
                    # Of numbers their `clean` makes floats.
                    self.assertEqual(message["properties"].keys(), passed["properties"].keys())
                    self.assertEqual(
                        datetime.fromisoformat(message["timestamp"]), datetime.fromisoformat(passed["timestamp"])
                    )
                    self.assertLessEqual(len(json.dumps(message).encode()), MAX_MSG_SIZE)
            self.assertLessEqual(len(json.dumps(batch).encode()), BATCH_SIZE_LIMIT)

    def test_the_library_posts_the_same_members(self):
        with Server() as server:
            client = Segment("key", host=server.url, sync_mode=True)
            client.track(anonymous_id="a", event="ran", properties={"n": 1})
        theirs = server.bodies[0]
        ours = json.loads(golden("segment.json"))
        # The key may stand in the body or in Authorization; both send the latter.
        self.assertEqual(theirs.keys() - ours.keys(), {"writeKey"})
        self.assertEqual(ours.keys() - theirs.keys(), set())
        of_ours, of_theirs = ours["batch"][0], theirs["batch"][0]
        self.assertEqual(of_theirs.keys() - of_ours.keys(), {"integrations", "userId"})
        self.assertEqual(of_ours.keys() - of_theirs.keys(), {"originalTimestamp"})
        for name in of_ours.keys() & of_theirs.keys():
            self.assertEqual(kind(of_ours[name]), kind(of_theirs[name]), name)


class PostHogTakesOurBatch(unittest.TestCase):
    def test_the_library_posts_the_same_shape(self):
        with Server() as server:
            client = posthog.Posthog("phc_key", host=server.url, sync_mode=True)
            client.capture("ran", distinct_id="a", properties={"n": 1, "$process_person_profile": False})
            client.shutdown()
        [theirs] = [body for body in server.bodies if "batch" in body]
        for name in ["posthog.json", "mapped/posthog.json"]:
            ours = json.loads(golden(name))
            self.assertEqual(ours.keys(), theirs.keys())
            for key in ["api_key", "historical_migration", "sent_at", "batch"]:
                self.assertEqual(kind(ours[key]), kind(theirs[key]), key)
            of_theirs = theirs["batch"][0]
            for of_ours in ours["batch"]:
                self.assertEqual(of_theirs.keys() - of_ours.keys(), set())
                for key in of_theirs.keys():
                    self.assertEqual(kind(of_ours[key]), kind(of_theirs[key]), key)
                for key in ["$lib", "$lib_version", "$geoip_disable", "$process_person_profile"]:
                    self.assertEqual(kind(of_ours["properties"][key]), kind(of_theirs["properties"][key]), key)
                datetime.fromisoformat(of_ours["timestamp"])


class OpenTelemetryReadsOurLogs(unittest.TestCase):
    def test_protobuf_and_json_are_the_same_request_to_the_official_definitions(self):
        protobuf = ExportLogsServiceRequest.FromString(bytes.fromhex("".join(golden("otlp.hex").split())))
        self.assertFalse(any(field.number > 12 for field, _ in protobuf.ListFields()))
        of_json = ExportLogsServiceRequest()
        json_format.Parse(golden("otlp.json"), of_json)
        # The golden JSON has a place for the version, the hexadecimal bytes have it.
        for request in [protobuf, of_json]:
            for resource in request.resource_logs:
                for scope in resource.scope_logs:
                    self.assertEqual(scope.scope.name, "telemetryd")
                    scope.scope.version = VERSION
        self.assertEqual(protobuf, of_json)
        self.assertEqual(ExportLogsServiceRequest.FromString(protobuf.SerializeToString()), of_json)

    def test_a_record_says_what_the_event_said(self):
        request = ExportLogsServiceRequest.FromString(bytes.fromhex("".join(golden("otlp.hex").split())))
        first = request.resource_logs[0]
        resource = {pair.key: pair.value for pair in first.resource.attributes}
        self.assertEqual(resource["service.name"].string_value, "kedro")
        self.assertEqual(resource["host.arch"].string_value, "amd64")
        record = first.scope_logs[0].log_records[0]
        self.assertEqual(record.event_name, "CLI command")
        self.assertEqual(record.time_unix_nano, 1_795_255_198_001_000_000)
        values = {pair.key: pair.value for pair in record.attributes}
        self.assertEqual(values["event.id"].string_value, "019aa6c2-0000-7000-8000-000000000001")
        self.assertEqual(values["nested"].kvlist_value.values[0].key, "deep")
        self.assertEqual(values["none"], AnyValue())
        self.assertAlmostEqual(values["n"].double_value, 1.1)


class TheCollectorsConfigurationHoldsTogether(unittest.TestCase):
    def test_every_pipeline_is_made_of_what_is_configured(self):
        config = yaml.safe_load((AT_SCALE / "otel/collector.yaml").read_text())
        used = {kind: set() for kind in ["receivers", "processors", "exporters"]}
        for pipeline in config["service"]["pipelines"].values():
            for kind, names in pipeline.items():
                used[kind] |= set(names)
        for kind, names in used.items():
            self.assertEqual(names, config[kind].keys(), kind)
        self.assertEqual(set(config["service"]["extensions"]), config["extensions"].keys())


if __name__ == "__main__":
    unittest.main()
