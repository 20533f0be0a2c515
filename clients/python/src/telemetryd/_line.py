"""Event lines: JSON without loading ``json``, and ids.

What JSON cannot say (other types, infinities, numbers beyond 64 bits) is left out rather than turned into text:
nobody listed it.
"""

from __future__ import annotations

import os
import time

try:
    # CPython's own: loading `json` compiles regular expressions that a short command never needs.
    from _json import encode_basestring_ascii as _quoted
except ImportError:
    from json.encoder import py_encode_basestring_ascii as _quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

#: The longest line that a daemon takes, unless its admin changed `limits.max_event_bytes`.
MAX_LINE = 64 * 1024
#: Levels of JSON; the daemon takes 32 for a whole line.
_MAX_DEPTH = 24


class LeftOut(Exception):
    """A value that JSON cannot say."""


def text(value: str) -> str:
    """A JSON string. What is no Unicode (an argument with stray bytes) becomes a replacement character."""
    if not value.isascii():
        value = value.encode("utf-8", "replace").decode("utf-8")
    return str(_quoted(value))


def cut(value: str, most: int) -> str:
    """The beginning of ``value``, at most that many bytes."""
    return value.encode("utf-8", "replace")[:most].decode("utf-8", "ignore")


def value(found: Any, depth: int = 0) -> str:
    """A value's JSON; :class:`LeftOut` where there is none."""
    if found is None:
        return "null"
    if found is True:
        return "true"
    if found is False:
        return "false"
    if isinstance(found, str):
        return text(found)
    if isinstance(found, int):
        if -(2**63) <= found < 2**64:
            return int.__repr__(found)
        raise LeftOut
    if isinstance(found, float):
        if found - found != 0.0:  # infinities and NaN
            raise LeftOut
        return float.__repr__(found)
    if depth >= _MAX_DEPTH:
        raise LeftOut
    if isinstance(found, dict):
        return members(found, depth + 1)
    if isinstance(found, (list, tuple)):
        return "[" + ",".join([value(item, depth + 1) for item in found]) + "]"
    # Numbers of other libraries (NumPy's).
    if hasattr(found, "__index__"):
        return value(int(found.__index__()), depth)
    if hasattr(found, "__float__"):
        return value(float(found), depth)
    raise LeftOut


def members(table: Mapping[Any, Any], depth: int = 0) -> str:
    """An object's JSON; members that cannot be said are left out."""
    parts = []
    for key, found in table.items():
        if isinstance(key, str):
            try:
                parts.append(f"{text(key)}:{value(found, depth)}")
            except (LeftOut, OverflowError):
                continue
    return "{" + ",".join(parts) + "}"


def uuid7(milliseconds: int, fraction: int = 0) -> str:
    """A UUID of version 7 (RFC 9562, 5.7), with 12 bits below the millisecond (6.2, method 3) so that the ids of
    one process are in order. ``fraction``: nanoseconds within the millisecond."""
    random = int.from_bytes(os.urandom(8), "big") & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
    number = (milliseconds << 80) | (7 << 76) | ((fraction * 4096 // 1_000_000) << 64) | random
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def now() -> tuple[int, int]:
    """Milliseconds since the epoch, and the nanoseconds within the last."""
    return divmod(time.time_ns(), 1_000_000)
