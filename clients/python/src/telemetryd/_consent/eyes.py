"""Eyes on the file system: they look, never block, read to a bound, and remember what they saw.

What they remember lets a later event be decided without reading anything again: as long as every path looks
the same from outside (inode, times, size), what was read still holds.
"""

from __future__ import annotations

import os
import stat

#: The most that is read of a file about consent or of a manifest.
MAX_FILE_BYTES = 1024 * 1024

#: Kinds of what is found at a path.
ABSENT, FILE, DIRECTORY, UNREADABLE = "absent", "file", "directory", "unreadable"

_NOTHING = (FileNotFoundError, NotADirectoryError)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class Found:
    """What is at a path: its kind, with the text, the names in it, or the reason why it cannot be read."""

    __slots__ = ("kind", "names", "text")

    def __init__(self, kind: str, text: str = "", names: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self.text = text
        self.names = names

    @property
    def why(self) -> str:
        """Why it is no file that can be read."""
        if self.kind == UNREADABLE:
            return self.text
        return {DIRECTORY: "is a directory", FILE: "is a file, not a directory"}.get(self.kind, "does not exist")


NOTHING = Found(ABSENT)


def _reason(error: OSError) -> str:
    import errno

    if error.errno == errno.ELOOP:
        return "is a link to itself"
    return (error.strerror or "unreadable").lower()


class Eyes:
    """The real file system, as this process may see it."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, ...] | None] = {}

    def look(self, path: str) -> Found:
        """What is at ``path``. A link that leads nowhere is unreadable, not absent."""
        try:
            status = os.stat(path)
        except _NOTHING:
            return self._absent(path)
        except (OSError, ValueError) as error:
            self._seen[path] = ()
            return Found(UNREADABLE, _reason(error) if isinstance(error, OSError) else "no path")
        self._seen[path] = _outside(status)
        if stat.S_ISDIR(status.st_mode):
            try:
                return Found(DIRECTORY, names=tuple(sorted(os.listdir(path))))
            except OSError as error:
                return Found(UNREADABLE, _reason(error))
        if not stat.S_ISREG(status.st_mode):
            return Found(UNREADABLE, "is neither a file nor a directory")
        return _text(path)

    def _absent(self, path: str) -> Found:
        self._seen[path] = None
        try:
            os.lstat(path)
        except _NOTHING:
            return NOTHING
        except OSError as error:
            self._seen[path] = ()
            return Found(UNREADABLE, _reason(error))
        self._seen[path] = ()
        return Found(UNREADABLE, "is a link that leads nowhere")

    def owner(self, path: str) -> int | None:
        """Whose it is, links followed; ``None`` where that cannot be told."""
        try:
            return os.stat(path).st_uid
        except (OSError, ValueError):
            return None

    def device(self, path: str) -> int | None:
        """A number that differs beyond a mount point; ``None`` where that cannot be told."""
        try:
            return os.stat(path).st_dev
        except (OSError, ValueError):
            return None

    def unchanged(self) -> bool:
        """Whether everything that was looked at still looks the same. One system call a path."""
        for path, seen in self._seen.items():
            try:
                if seen is None:
                    # Absent: even a link would be news.
                    os.lstat(path)
                    return False
                if not seen or _outside(os.stat(path)) != seen:
                    return False
            except _NOTHING:
                if seen is not None:
                    return False
            except OSError:
                return False
        return True


def _outside(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_dev)


def _text(path: str) -> Found:
    descriptor = -1
    try:
        # Between the look and the opening the file can have become a pipe: non-blocking, and asked again.
        descriptor = os.open(path, os.O_RDONLY | _NONBLOCK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return Found(UNREADABLE, "is not a file any more")
        pieces = []
        left = MAX_FILE_BYTES + 1
        while left > 0 and (piece := os.read(descriptor, left)):
            pieces.append(piece)
            left -= len(piece)
        if left <= 0:
            return Found(UNREADABLE, f"is larger than {MAX_FILE_BYTES} bytes")
        return Found(FILE, b"".join(pieces).decode("utf-8"))
    except _NOTHING:
        return NOTHING
    except UnicodeDecodeError:
        return Found(UNREADABLE, "is not UTF-8")
    except OSError as error:
        return Found(UNREADABLE, _reason(error))
    finally:
        if descriptor >= 0:
            os.close(descriptor)
