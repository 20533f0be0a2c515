"""A home of a test's own: a temporary directory with everything that telemetryd looks for, and an environment that
leads nowhere else."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

#: A path below must fit in the 107 bytes of a Unix socket's address.
_LONGEST = 60


class Home:
    """A temporary home; a context manager."""

    def __init__(self) -> None:
        root = tempfile.mkdtemp(prefix="tmd")
        if len(root) > _LONGEST and os.path.isdir("/tmp"):
            os.rmdir(root)
            root = tempfile.mkdtemp(prefix="tmd", dir="/tmp")
        self.root = Path(root).resolve()
        for below in ("home", "config", "state", "run"):
            (self.root / below).mkdir(mode=0o700)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead here."""
        return {
            "HOME": str(self.root / "home"),
            "XDG_CONFIG_HOME": str(self.root / "config"),
            "XDG_STATE_HOME": str(self.root / "state"),
            "XDG_DATA_HOME": str(self.root / "data"),
            "XDG_RUNTIME_DIR": str(self.root / "run"),
            "TELEMETRYD_MACHINE_DIR": str(self.machine),
            "TELEMETRYD_SOCKET": str(self.socket),
        }

    @property
    def config(self) -> Path:
        """Where ``config.toml`` and ``consent.toml`` are."""
        return self.root / "config/telemetryd"

    @property
    def state(self) -> Path:
        """Where the queue and the spool are."""
        return self.root / "state/telemetryd"

    @property
    def machine(self) -> Path:
        """Stands for ``/etc/telemetryd``: ``opt-out``, ``opt-out.d``, ``policy.d``."""
        return self.root / "machine"

    @property
    def socket(self) -> Path:
        """Where the daemon's socket is or will be."""
        return self.root / "run/telemetryd/telemetryd.sock"

    def write(self, path: str | Path, text: str) -> Path:
        """Writes a file inside of this home, directories included."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        return target

    def __enter__(self) -> Home:
        return self

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, _: TracebackType | None) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
