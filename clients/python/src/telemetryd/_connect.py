"""The way to the daemon: the first socket that takes the connection, and the bytes into it, within one deadline.

``connect`` on a Unix socket whose backlog is full waits without end, and answers ``EAGAIN`` at once where it may
not wait. Linux bounds the wait by ``SO_SNDTIMEO`` (unix(7), socket(7)), which wakes as soon as there is room and
bounds every write too. The host's own timeouts and its patched ``socket`` are not used.
"""

from __future__ import annotations

import sys
import time

try:
    # CPython's and PyPy's own: loading `socket` builds enumerations that are not needed here.
    import _socket as sockets
except ImportError:
    import socket as sockets  # type: ignore[no-redef]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: Whether a daemon can be here at all.
POSSIBLE = hasattr(sockets, "AF_UNIX")

#: What became of an attempt.
SENT, NOBODY, WEDGED, FORBIDDEN = "sent", "nobody", "wedged", "forbidden"

_STREAM = getattr(sockets, "SOCK_STREAM", 0) | getattr(sockets, "SOCK_CLOEXEC", 0)
_NO_SIGNAL = getattr(sockets, "MSG_NOSIGNAL", 0)
_WORD = 8 if sys.maxsize > 2**32 else 4


class Connection:
    """A connection that was taken. It closes when it is closed, and complete lines are processed all the same."""

    __slots__ = ("_socket", "path")

    def __init__(self, socket: sockets.socket, path: str) -> None:
        self._socket = socket
        self.path = path

    def send(self, data: bytes, until: float) -> bool:
        """Sends bytes: whole lines, each with its newline. ``False``: not all went in time."""
        sent = 0
        while sent < len(data):
            # The first time it is tried at least, though this process slept through its deadline.
            if not _wait_at_most(self._socket, until, try_it=sent == 0):
                return False
            sent += self._socket.send(data[sent:] if sent else data, _NO_SIGNAL)
        return True

    def answers(self, number: int, until: float) -> list[bytes]:
        """Up to ``number`` answer lines, as far as they come in time."""
        data = b""
        while data.count(b"\n") < number:
            left = until - time.monotonic()
            if left <= 0:
                break
            self._socket.settimeout(left)
            try:
                piece = self._socket.recv(65536)
            except OSError:
                break
            if not piece:
                break
            data += piece
        self._socket.settimeout(None)
        return data.split(b"\n")[:-1]

    def peer_uid(self) -> int | None:
        """Who listens at the other end, where the system says it (Linux)."""
        if not hasattr(sockets, "SO_PEERCRED"):
            return None
        credentials = self._socket.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, 12)
        return int.from_bytes(credentials[4:8], sys.byteorder)

    def close(self) -> None:
        """Closes."""
        self._socket.close()


def connect(paths: Iterable[str], until: float) -> Connection | str:
    """Connects to the first of ``paths`` that takes it; otherwise what became of the attempt."""
    for path in paths:
        found = _one(path, until)
        if not isinstance(found, str):
            return Connection(found, path)
        # A daemon that lives and does not take it is not passed over.
        if found != NOBODY:
            return found
    return NOBODY


def _one(path: str, until: float) -> sockets.socket | str:
    socket = sockets.socket(sockets.AF_UNIX, _STREAM)
    try:
        # The host may have set a default timeout; here the socket's own holds.
        socket.settimeout(None)
        tried = False
        while _wait_at_most(socket, until, try_it=not tried):
            tried = True
            try:
                socket.connect(path)
            except InterruptedError:
                continue
            return socket
        socket.close()
        return WEDGED
    except (BlockingIOError, TimeoutError):
        socket.close()
        return WEDGED
    except PermissionError:
        socket.close()
        return FORBIDDEN
    except (OSError, ValueError):
        socket.close()
        return NOBODY
    except BaseException:
        socket.close()
        raise


def _wait_at_most(socket: sockets.socket, until: float, *, try_it: bool) -> bool:
    """Bounds what the next call on ``socket`` may wait; ``False``: the time is up. ``try_it``: then a millisecond."""
    left = int((until - time.monotonic()) * 1_000_000)
    if try_it:
        left = max(left, 1000)
    if left <= 0:
        return False
    seconds, micros = divmod(left, 1_000_000)
    # A `struct timeval`. Zero would mean "without end" to the system.
    wait = seconds.to_bytes(_WORD, sys.byteorder) + max(micros, 1).to_bytes(_WORD, sys.byteorder)
    try:
        socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDTIMEO, wait)
    except (OSError, AttributeError):
        socket.settimeout(left / 1_000_000)
    return True
