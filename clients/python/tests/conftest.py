"""Homes of a test's own, real daemons and real endpoints."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from telemetryd import _context, testing

ROOT = Path(__file__).parents[3]
SOURCES = Path(__file__).parents[1] / "src"


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a developer's machine says about consent, CI and daemons is not what is asked here."""
    for name in list(os.environ):
        if name.startswith(("TELEMETRYD_", "XDG_", "SUDO_")) and name not in testing.PROGRAMS:
            monkeypatch.delenv(name)
    for name in ("DO_NOT_TRACK", *_context._SOME_CI, *(name for _, _, names in _context._CI for name in names)):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[testing.Home]:
    """An empty home, and this process's environment pointing to it."""
    with testing.Home() as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found


@pytest.fixture
def sink() -> Iterator[testing.Sink]:
    with testing.Sink() as found:
        yield found


@pytest.fixture
def daemon(home: testing.Home, sink: testing.Sink) -> Iterator[testing.Daemon]:
    with testing.Daemon(home, sink) as found:
        yield found
