"""What only this process can know of where it runs: CI, containers and notebooks, the interpreter, this library.

Closed tables: a value that is sent is a word of a table, a version or a yes. No variable's value is ever sent.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def in_ci(environment: Mapping[str, str]) -> bool:
    """Whether this is a run of continuous integration."""
    return False


def context(environment: Mapping[str, str]) -> dict[str, Any]:
    """All that is known."""
    from . import __version__

    return {
        "ci": in_ci(environment),
        "runtime": {
            "name": "python",
            "version": ".".join(map(str, sys.version_info[:3])),
            "implementation": sys.implementation.name,
        },
        "library": {"name": "telemetryd-python", "version": __version__},
    }
