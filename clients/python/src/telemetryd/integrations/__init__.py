"""Tools that people use already, reporting through the daemon.

Each is a plug-in by the tool's own entry points, so that it is there as soon as this package is. None brings a
manifest: until one for the tool is installed (by the admin, a package or the user), it does nothing at all, for a
package that comes along with some other tool must not switch anything on.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._telemetry import Telemetry


def installed(telemetry: Telemetry) -> bool:
    """Whether a manifest for the tool is installed, and nothing that this process sees denies."""
    seen = telemetry._look()
    return seen.manifest is not None and seen.denial is None
