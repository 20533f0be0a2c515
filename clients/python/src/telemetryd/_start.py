"""A daemon for whoever has none: started by the first event that nobody took, where no service manager provides
the socket. From an absolute path beside this package or in the system's directories, never by ``PATH``; one at a
time; never waited for. Not by root, not in CI, not where ``TELEMETRYD_AUTOSTART`` is ``0`` or the admin has said
``on_demand = "off"``.
"""

from __future__ import annotations

import os
import sys
import time

from ._context import in_ci

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._connect import Connection

_SYSTEM = ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/opt/telemetryd/bin")

#: What the daemon gets of the environment: where its user's files are, and how the network is reached. Whatever
#: else a shell has (tokens, a virtual environment, LD_PRELOAD) is none of its business.
_KEPT = frozenset(
    (
        "HOME USER LOGNAME LANG LC_ALL TZ TMPDIR XDG_CONFIG_HOME XDG_DATA_HOME XDG_STATE_HOME XDG_RUNTIME_DIR "
        "HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy SSL_CERT_FILE "
        "SSL_CERT_DIR"
    ).split()
)

#: Whether this process has asked a daemon for its version, and how often anybody does (seconds).
_asked: list[bool] = []
_A_DAY = 24 * 3600

#: The descriptor of the lock in the daemon.
_LOCK = 10

#: The daemon's process, until it has left for the background.
_children: list[int] = []


#: After a start, nobody starts another for so many seconds: a daemon is there within some hundredths, or will not be.
_ONE_AT_A_TIME = 2.0
#: Seconds between two attempts of one process.
_PAUSE = 1.0
_next_attempt = [0.0]


def wanted(environment: Mapping[str, str], no_start_on_demand: bool) -> bool:
    """Whether a daemon may be started from here, and now."""
    return (
        hasattr(os, "posix_spawn")
        and not no_start_on_demand
        and environment.get("TELEMETRYD_AUTOSTART") != "0"
        and not environment.get("TELEMETRYD_SOCKET")
        and 0 not in (os.getuid(), os.geteuid())
        and time.monotonic() >= _next_attempt[0]
        and not in_ci(environment)
    )


def program() -> str | None:
    """The daemon's program: beside this package, or in the system's directories."""
    package = os.path.dirname(os.path.abspath(__file__))
    directories = [os.path.join(sys.prefix, "bin")]
    # <prefix>/lib/python3.x/site-packages/telemetryd, ~/.local likewise; `pip install --target`: <target>/bin
    for up in (1, 4):
        above = package
        for _ in range(up):
            above = os.path.dirname(above)
        directories.append(os.path.join(above, "bin"))
    for directory in (*directories, *_SYSTEM):
        path = os.path.join(directory, "telemetryd")
        if _trusted(path):
            return path
    return None


def _trusted(path: str) -> bool:
    """Whether nobody but root and this user can have put something else there."""
    try:
        for place in (path, os.path.dirname(path)):
            status = os.stat(place)
            sticky = status.st_mode & 0o1000
            if status.st_uid not in (0, os.geteuid()) or (status.st_mode & 0o002 and not sticky):
                return False
        return os.path.isfile(path) and os.access(path, os.X_OK)
    except OSError:
        return False


def start(state: str, environment: Mapping[str, str], answers: Callable[[], bool]) -> bool:
    """Starts a daemon unless another process is at it, or somebody ``answers`` meanwhile. Never waits for it."""
    import fcntl

    _next_attempt[0] = time.monotonic() + _PAUSE
    reap()
    if _children:
        return False
    found = program()
    if found is None:
        return False
    os.makedirs(state, 0o700, exist_ok=True)
    lock = os.open(f"{state}/start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found_lock = os.fstat(lock)
        recent = 0 <= time.time() - found_lock.st_mtime < _ONE_AT_A_TIME
        if (found_lock.st_size and recent) or answers():
            return False
        os.ftruncate(lock, 0)
        os.write(lock, b"started\n")
        kept = {
            name: word for name, word in environment.items() if name in _KEPT or name.startswith(("TELEMETRYD_", "LC_"))
        }
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            # The daemon holds the lock as long as it lives: whoever finds it held starts no other.
            (os.POSIX_SPAWN_DUP2, lock, _LOCK),
        ]
        arguments = [found, "--background", "--idle-exit", "60s"]
        _children.append(os.posix_spawn(found, arguments, kept, file_actions=actions))
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def replace_older(
    connection: Connection, state: str, environment: Mapping[str, str], no_start_on_demand: bool, until: float
) -> None:
    """Asks a daemon that was started on demand and is older than the one beside this package to leave, when it has
    sent what it has. The next event starts the newer; who may not start one asks none to leave. Asked once a day;
    never waited for."""
    from . import __version__

    if _asked or not hasattr(os, "posix_spawn"):
        return
    _asked.append(True)
    marker = f"{state}/version-asked"
    try:
        if time.time() - os.stat(marker).st_mtime < _A_DAY:
            return
    except FileNotFoundError:
        pass
    if not wanted(environment, no_start_on_demand) or program() is None or not _on_demand(state):
        return
    hello = f'{{"op":"hello","protocol":1,"client":"telemetryd-python/{__version__}"}}\n'
    answers = connection.answers(1, until) if connection.send(hello.encode("ascii"), until) else []
    if not answers:
        return  # it is busy; the next process asks
    os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    os.utime(marker)
    if _older(answers[0], __version__):
        connection.send(b'{"op":"stop","drain_ms":10000}\n', until)


def _on_demand(state: str) -> bool:
    """Whether the daemon is one that was started here: it holds the lock. A service manager's is its own to replace."""
    import fcntl

    try:
        lock = os.open(f"{state}/start.lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(lock)


def _older(answer: bytes, than: str) -> bool:
    _, found, rest = answer.partition(b'"server":"telemetryd/')
    version = rest.partition(b'"')[0].decode("ascii", "replace")
    numbers = [text.split(".") for text in (version, than)]
    if not found or not all(part.isdigit() for parts in numbers for part in parts):
        return False
    theirs, ours = ([int(part) for part in parts] for parts in numbers)
    return theirs < ours


def reap() -> None:
    """Lets go of a daemon's first process that has ended. Never waits."""
    for child in list(_children):
        try:
            if os.waitpid(child, os.WNOHANG) == (0, 0):
                continue
        except OSError:
            pass  # the host has reaped it, or it is a parent's: not ours after a fork
        _children.remove(child)
