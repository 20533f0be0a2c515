"""What a tool's tests would have sent: recorded in place of the daemon, in this process and in those it starts."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import _telemetry

#: Seconds after which a test that waits gives up.
PATIENCE = 10.0


class Recorded:
    """The events, oldest first: what was not declined by consent, after ``before_send``.

    Each is a dictionary with ``tool``, ``event`` and ``properties`` (and ``redirected``, where that was said). Events
    of this process are here at once; those of a process that it started arrive through a socket: :meth:`wait` for
    them.
    """

    def __init__(self, directory: Path) -> None:
        self._events: list[dict[str, Any]] = []
        self._arrived = threading.Condition()
        #: Where the daemon's socket would be.
        self.socket = directory / "telemetryd.sock"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.socket))
        self._listener.listen(128)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        _telemetry._recorder.append(self._record)

    def close(self) -> None:
        """Ends the recording."""
        _telemetry._recorder.remove(self._record)
        # A listener that is only closed goes on waiting.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _record(self, event: dict[str, Any]) -> bool:
        with self._arrived:
            self._events.append(event)
            self._arrived.notify_all()
        return True

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                connection.settimeout(PATIENCE)
                for line in lines:
                    said = json.loads(line)
                    if "op" not in said:
                        keys = ("tool", "event", "properties", "redirected")
                        self._record({key: said[key] for key in keys if key in said})

    @property
    def events(self) -> list[dict[str, Any]]:
        """All of them so far."""
        with self._arrived:
            return list(self._events)

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [event["event"] for event in self.events]

    def wait(self, number: int) -> list[dict[str, Any]]:
        """Waits until there are that many, and returns all; an ``AssertionError`` if they do not come."""
        with self._arrived:
            self._arrived.wait_for(lambda: len(self._events) >= number, PATIENCE)
        events = self.events
        assert len(events) >= number, f"{len(events)} of {number} events came: {events}"
        return events

    def check(self, manifest: str | os.PathLike[str]) -> None:
        """An ``AssertionError`` for every event and property that the manifest does not list, or lists with another
        type: the daemon would remove it.

        :param manifest: the file, or its text.
        """
        from .._check import problems

        text = manifest if isinstance(manifest, str) and "\n" in manifest else Path(manifest).read_text("utf-8")
        found = [problem for event in self.events for problem in problems(event, text)]
        assert not found, "\n".join(found)

    def clear(self) -> None:
        """Forgets what came so far."""
        with self._arrived:
            self._events.clear()

    def __len__(self) -> int:
        return len(self.events)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.events)

    def __getitem__(self, at: int) -> dict[str, Any]:
        return self.events[at]
