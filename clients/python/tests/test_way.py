"""The whole way of an event: from a tool to a real daemon to a real endpoint."""

from __future__ import annotations

from telemetryd import Telemetry
from telemetryd.testing import Daemon, Home, Sink

MANIFEST = """
name = "mytool"
consent = "opt-out"
notice_required = "tool"
events = "any"
"""


def test_an_event_arrives_at_the_endpoint(home: Home, sink: Sink, daemon: Daemon) -> None:
    telemetry = Telemetry("mytool", MANIFEST, version="1.2.3")
    assert telemetry.event("ran", n=3, ok=True, share=0.5)
    (event,) = sink.wait(1)
    assert event["event"] == "ran"
    assert event["tool_version"] == "1.2.3"
    assert event["properties"] == {"n": 3, "ok": True, "share": 0.5}
    assert event["context"]["library"]["name"] == "telemetryd-python"
