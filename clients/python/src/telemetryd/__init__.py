"""Usage events of a command-line tool: consent is read first, the daemon does the network, and the tool never
waits for it, never fails of it and never prints for it.

>>> from telemetryd import Telemetry
>>> telemetry = Telemetry.from_manifest("mytool", "telemetry.toml")
>>> telemetry.event("command", command=telemetry.mask(["run", "--env", "prod"], {"run": {"--env": 1}}))

Nothing but this file is loaded until something is used.
"""

__version__ = "0.1.0"
