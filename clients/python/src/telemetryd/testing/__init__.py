"""For the tests of a tool: an endpoint that prints nothing and remembers all, a daemon in a home of its own, and
the pytest fixture ``telemetry_events``.

    from telemetryd.testing import Daemon, Home, Sink

    with Home() as home, Sink() as sink, Daemon(home, sink):
        subprocess.run(["mytool", "run"], env={**os.environ, **home.environment}, check=True)
        assert sink.wait(1)[0]["event"] == "command"

The programs are those beside the package (``telemetryd[daemon]``), in the system's directories, or named by
``TELEMETRYD_BIN`` and ``TELEMETRYCTL_BIN``.
"""

from ._home import Home
from ._programs import PROGRAMS, Daemon, Sink, program
from ._recorded import Recorded

__all__ = ["PROGRAMS", "Daemon", "Home", "Recorded", "Sink", "program"]
