"""Usage events of a command-line tool: consent is read first, the daemon does the network, and the tool never
waits for it, never fails of it and never prints for it.

    from telemetryd import Telemetry

    telemetry = Telemetry.from_manifest("mytool", "telemetry.toml")
    telemetry.event("command", command=telemetry.mask(sys.argv[1:], click_group))

Nothing but this file is loaded until something is used.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._masking import mask_command as mask_command
    from ._telemetry import Telemetry as Telemetry
    from ._track import track as track

__version__ = "0.1.0"
__all__ = ["Telemetry", "mask_command", "track"]

_HOMES = {"Telemetry": "_telemetry", "mask_command": "_masking", "track": "_track"}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'telemetryd' has no attribute {name!r}")
    # `importlib` is not loaded in every process.
    found = getattr(__import__(f"telemetryd.{home}", fromlist=[name]), name)
    globals()[name] = found
    return found
