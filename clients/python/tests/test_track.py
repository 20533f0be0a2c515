"""``@telemetryd.track``: each call is an event, and the function stays what it was."""

from __future__ import annotations

import asyncio
import inspect

import pytest

import telemetryd
from telemetryd import Telemetry
from telemetryd.testing import Daemon, Home, Recorded, Sink

MANIFEST = """
name = "mytool"
consent = "opt-out"
notice_required = "tool"
[events."*"]
properties.elapsed = "number"
properties.success = "boolean"
properties.kind = { type = "string", enum = ["html"] }
"""


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry("mytool", MANIFEST)


def test_a_call_is_an_event_with_how_long_it_took_and_that_it_succeeded(
    telemetry_events: Recorded, telemetry: Telemetry
) -> None:
    @telemetryd.track(telemetry, "report built", kind="html")
    def build(pages: int, *, title: str = "") -> str:
        """Builds it."""
        return f"{title}{pages}"

    assert build(3, title="secret") == "secret3"
    (event,) = telemetry_events
    assert (event["tool"], event["event"]) == ("mytool", "report built")
    properties = event["properties"]
    assert properties.keys() == {"elapsed", "success", "kind"} and "secret" not in str(event)
    assert 0 <= properties["elapsed"] < 5 and properties["success"] is True
    assert (build.__name__, build.__doc__) == ("build", "Builds it.")
    telemetry_events.check(MANIFEST)


def test_what_it_raises_passes_through_and_is_told_as_no_success(
    telemetry_events: Recorded, telemetry: Telemetry
) -> None:
    @telemetryd.track(telemetry)
    def fails() -> None:
        raise ValueError("with a secret in it")

    @telemetryd.track(telemetry)
    def leaves() -> None:
        raise SystemExit(3)

    with pytest.raises(ValueError, match="secret"):
        fails()
    with pytest.raises(SystemExit) as left:
        leaves()
    assert left.value.code == 3
    assert [(event["event"], event["properties"]["success"]) for event in telemetry_events] == [
        ("fails", False),
        ("leaves", False),
    ]
    assert "secret" not in str(telemetry_events.events)


def test_a_coroutine_is_awaited_first(telemetry_events: Recorded, telemetry: Telemetry) -> None:
    @telemetryd.track(telemetry)
    async def fetch(n: int) -> int:
        await asyncio.sleep(0.02)
        return n

    assert inspect.iscoroutinefunction(fetch)

    async def both() -> list[int]:
        return await asyncio.gather(fetch(1), fetch(2))

    assert asyncio.run(both()) == [1, 2]
    first, second = telemetry_events
    assert min(event["properties"]["elapsed"] for event in (first, second)) >= 0.02


def test_where_consent_is_denied_the_function_runs_all_the_same(
    telemetry_events: Recorded, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DO_NOT_TRACK", "1")

    @telemetryd.track(telemetry)
    def build() -> int:
        return 7

    assert build() == 7 and len(telemetry_events) == 0


def test_it_arrives_at_an_endpoint(home: Home, daemon: Daemon, sink: Sink, telemetry: Telemetry) -> None:
    @telemetryd.track(telemetry, "report built", kind="html")
    def build() -> None: ...

    build()
    (event,) = sink.wait(1)
    assert event["event"] == "report built"
    assert event["properties"].keys() == {"elapsed", "success", "kind"} and event["properties"]["success"] is True
