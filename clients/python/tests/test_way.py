"""The whole way of an event: from a tool to a real daemon to a real endpoint."""

from __future__ import annotations

import time
from collections.abc import Callable

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


def test_keys_and_versions_that_are_too_long_are_cut_and_a_name_that_is_none_is_not_sent(
    home: Home, sink: Sink, daemon: Daemon
) -> None:
    telemetry = Telemetry("mytool", MANIFEST, version="ü" * 100, project="ü" * 1000, user="x" * 1000)
    assert telemetry.event("ran")
    assert not telemetry.event("ra\nn") and not telemetry.event("ra\x85n") and not telemetry.event("")
    (event,) = sink.wait(1)
    assert event["tool_version"] == "ü" * 32


def test_a_projects_denial_is_told_once_and_erases_what_is_queued_of_it(home: Home, sink: Sink) -> None:
    manifest = MANIFEST + 'project_files = [{ path = ".telemetry", format = "yaml", key = "consent" }]\n'
    home.write("data/telemetryd/tools.d/mytool.toml", manifest)
    with Daemon(home, sink):
        pass
    config = home.config / "config.toml"
    config.write_text(config.read_text().replace('max_wait = "20ms"', 'max_wait = "1h"'))
    project = home.root / "home/shop"
    project.mkdir()
    with Daemon(home) as daemon:
        mine = Telemetry("mytool", project_dir=project)
        assert mine.event("ran") and Telemetry("mytool", project="other").event("ran")
        waits_for(lambda: daemon.ask(op="status")["queue"]["events"] == 2)
        (project / ".telemetry").write_text("consent: false\n")
        assert not mine.event("ran")
        waits_for(lambda: daemon.ask(op="status")["queue"]["events"] == 1)


def waits_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)
