"""Programs that tests write and run: a process of its own for each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SOURCES = str(Path(__file__).parents[1] / "src")


def environment(**more: str) -> dict[str, str]:
    """The environment of this process, with the sources on the path."""
    return {**os.environ, "PYTHONPATH": SOURCES, "PYTHONDONTWRITEBYTECODE": "1", **more}


def run(text: str, *arguments: str, under: list[str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs a Python program. ``under``: the command that runs the interpreter (``strace``, ``unshare``)."""
    env = environment(**options.pop("env", {}))
    for name in options.pop("unset", ()):
        env.pop(name, None)
    return subprocess.run(
        [*(under or ()), sys.executable, "-c", text, *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )
