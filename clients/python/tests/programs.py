"""Programs that tests write and run: a process of its own for each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SOURCES = str(Path(__file__).parents[1] / "src")


#: In front of a command: it then is not root, whoever runs the tests. (As root dlt uses `/var/dlt`, and no daemon is
#: started on demand.)
SOMEBODY = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []


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
