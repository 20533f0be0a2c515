"""The tree is formatted, linted and typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]
#: Beside what cargo builds, where nothing is committed.
CACHES = Path(sys.prefix).parent / "caches"


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "--quiet", "--cache-dir", str(CACHES / "ruff"), "."],
        ["ruff", "format", "--check", "--quiet", "--cache-dir", str(CACHES / "ruff"), "."],
        ["mypy", "--cache-dir", str(CACHES / "mypy")],
    ],
    ids=["ruff", "format", "mypy"],
)
def test_the_sources_are_in_order(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
