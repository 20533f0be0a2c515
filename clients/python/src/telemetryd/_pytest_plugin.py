"""The pytest plug-in. It is found by its entry point; nothing of telemetryd is loaded until a test asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .testing import Recorded


@pytest.fixture
def telemetry_events(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    """What the tool would have sent during the test, see ``telemetryd.testing.Recorded``.

    Nothing leaves the test, and what the machine, its user and the environment say about consent does not count:
    a test that wants a denial sets it after it has asked for this fixture.
    """
    from .testing import Home, Recorded

    with Home() as home:
        for name, value in home.environment.items():
            if name not in ("HOME", "TELEMETRYD_SOCKET"):
                monkeypatch.setenv(name, value)
        for name in ("DO_NOT_TRACK", "SUDO_UID", "TELEMETRYD_CONFIG_DIR", "TELEMETRYD_STATE_DIR"):
            monkeypatch.delenv(name, raising=False)
        recorded = Recorded(home.root)
        monkeypatch.setenv("TELEMETRYD_SOCKET", str(recorded.socket))
        try:
            yield recorded
        finally:
            recorded.close()
