"""Where things are, as the environment says: the same places as the daemon's and every other client's."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_MACOS = sys.platform == "darwin"

#: The admin's directory: opt-out and policy are read here on every system.
MACHINE_DIR = "/etc/telemetryd"
_MAC_SUPPORT = "/Library/Application Support/telemetryd"
#: The admin's directory for manifests.
MACHINE_CONFIG = _MAC_SUPPORT if _MACOS else MACHINE_DIR
#: What a package installs.
PACKAGE_MANIFESTS = "/usr/share/telemetryd/tools.d"
#: The machine-wide daemon's socket.
SYSTEM_SOCKET = ("/var" if _MACOS else "") + "/run/telemetryd/telemetryd.sock"
#: The socket's name in its directory.
SOCKET_NAME = "telemetryd.sock"


class Places:
    """The directories and sockets of one process's user. ``None`` where nothing says where they are."""

    __slots__ = (
        "config",
        "environment",
        "home",
        "machine",
        "manifests",
        "sockets",
        "state",
        "sudo_uid",
        "uid",
        "working",
    )

    config: str | None
    state: str | None
    manifests: str | None

    def __init__(
        self, environment: Mapping[str, str], uid: int | None, *, working: str | None, real: bool = True
    ) -> None:
        def absolute(name: str) -> str | None:
            path = environment.get(name, "")
            return path if os.path.isabs(path) else None

        self.environment = environment
        self.uid = uid
        self.working = working
        self.home = absolute("HOME") or (_windows_home(environment) if os.name == "nt" else None)

        def user(own: str, xdg: str, below: str) -> str | None:
            path = absolute(own) if own else None
            if path:
                return path
            if _MACOS:
                return f"{self.home}{_MAC_SUPPORT}" if self.home else None
            base = absolute(xdg)
            if base:
                return f"{base}/telemetryd"
            return f"{self.home}/{below}/telemetryd" if self.home else None

        self.config = user("TELEMETRYD_CONFIG_DIR", "XDG_CONFIG_HOME", ".config")
        self.state = user("TELEMETRYD_STATE_DIR", "XDG_STATE_HOME", ".local/state")
        data = user("", "XDG_DATA_HOME", ".local/share")
        self.manifests = data and f"{data}/tools.d"
        if None in (self.config, self.state, self.manifests):
            self.config = self.state = self.manifests = None
        more = absolute("TELEMETRYD_MACHINE_DIR")
        self.machine = [MACHINE_DIR, more] if more else [MACHINE_DIR]
        self.sockets = self._sockets(environment, absolute("XDG_RUNTIME_DIR"), real)
        sudo = environment.get("SUDO_UID", "")
        self.sudo_uid = int(sudo) if sudo.isascii() and sudo.isdigit() and len(sudo) < 11 else None
        if real and self.home:
            # So that it is known among the parents of a directory whose links are resolved.
            self.home = os.path.realpath(self.home)

    def _sockets(self, environment: Mapping[str, str], runtime: str | None, real: bool) -> list[str]:
        explicit = environment.get("TELEMETRYD_SOCKET")
        if explicit:
            return [explicit]
        if runtime is None and real and self.uid is not None and os.path.isdir(f"/run/user/{self.uid}"):
            runtime = f"/run/user/{self.uid}"
        if runtime:
            return [SYSTEM_SOCKET, f"{runtime}/telemetryd/{SOCKET_NAME}"]
        return [SYSTEM_SOCKET, f"{self.state}/{SOCKET_NAME}"] if self.state else [SYSTEM_SOCKET]


def of_this_process(environment: Mapping[str, str]) -> Places:
    """As this process has them now."""
    getuid = getattr(os, "getuid", None)
    try:
        working: str | None = os.getcwd()
    except OSError:
        working = None
    return Places(environment, getuid() if getuid else None, working=working)


def _windows_home(environment: Mapping[str, str]) -> str | None:
    return environment.get("USERPROFILE")
