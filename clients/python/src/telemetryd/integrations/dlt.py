"""dlt: its anonymous events, through the daemon.

By dlt's documented hook ``before_send``: what it hands over is kept from dlt's own thread and said to the daemon
instead, so that consent is read in this process, and a pipeline's end never waits for an endpoint. The id that dlt
has made is handed on as a key; none is made. Where a user has told dlt another endpoint, dlt sends there itself, as
told, and the daemon, which hears of it, declines. The manifest's notice is shown once, on standard error.

As dlt's plug-in (``telemetryd.integrations.dlt_plugin``) it installs itself; ``install()`` does it by hand.
"""

from __future__ import annotations

import os
from typing import Any

from .._record import show_notice
from .._telemetry import Telemetry

#: Where dlt sends unless told otherwise (dlt 1.31, ``RuntimeConfiguration``).
DEFAULT_ENDPOINT = "https://telemetry.scalevector.ai"


def install() -> bool:
    """Takes dlt's events over, from now on. ``False``: no manifest for dlt is installed; then dlt is left as it
    is. Consent is asked for each event: what is denied goes nowhere, not by dlt's own way either."""
    try:
        telemetry = Telemetry("dlt")
        if not telemetry._look().manifest:
            return False
        from importlib import import_module

        # It is nobody's dependency here.
        tracker: Any = import_module("dlt.common.runtime.anon_tracker")
        telemetry.version = tracker.__version__
        show_notice(telemetry)
        if getattr(tracker.before_send, "telemetryd", None) is None:
            tracker.before_send = _before_send(telemetry, tracker, tracker.before_send)
            tracker.get_anonymous_id = _known_id(tracker)
        return True
    except Exception:
        return False


def _before_send(telemetry: Telemetry, tracker: Any, before: Any) -> Any:
    def before_send(event: Any) -> Any:
        event = before(event)
        endpoint = tracker._ANON_TRACKER_ENDPOINT
        if not event or endpoint is None:
            return None  # dlt's own configuration has said no
        telemetry.redirected = endpoint.rstrip("/") != DEFAULT_ENDPOINT
        telemetry.user = event.get("anonymousId") or None
        telemetry.event(event["event"], **event["properties"])
        return event if telemetry.redirected else None

    before_send.telemetryd = True  # type: ignore[attr-defined]
    return before_send


def _known_id(tracker: Any) -> Any:
    def get_anonymous_id() -> str:
        """The id of this user, if dlt has made one before: it is nobody's to make while consent is open."""
        path = os.path.join(tracker.run_context.active().global_dir, ".anonymous_id")
        try:
            with open(path, encoding="utf-8") as file:
                return file.read(256)
        except OSError:
            return ""

    return get_anonymous_id
