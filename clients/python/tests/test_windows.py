"""Where no daemon can be: consent is read, and nothing else happens.

Windows is played: an interpreter without Unix sockets and without the modules and functions that Windows lacks. The
paths are still this system's; on a real Windows it was not run.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import run

MANIFEST = """
name = "mytool"
consent = "opt-out"
notice_required = "tool"
opt_out_env = ["MYTOOL_OFF"]
[events.ran]
properties.n = "integer"
"""

#: What https://docs.python.org/3/library/os.html calls "Availability: Unix", as far as anything here may want it.
WINDOWS = """
import os, sys
# What of the library of Python decides by the platform has decided.
import asyncio, inspect, pathlib, selectors, shutil, socket, subprocess, tempfile, click
sys.platform = "win32"
for name in ("AF_UNIX", "SCM_RIGHTS"):
    for module in ("_socket", "socket"):
        module = __import__(module)
        if hasattr(module, name):
            delattr(module, name)
for name in (
    "getuid geteuid getgid getegid getgroups fork forkpty posix_spawn posix_spawnp setsid chown lchown fchmod fchown "
    "mkfifo O_CLOEXEC O_NOFOLLOW O_NONBLOCK O_DIRECTORY WNOHANG POSIX_SPAWN_OPEN POSIX_SPAWN_DUP2 uname "
    "register_at_fork sched_getaffinity statvfs"
).split():
    if hasattr(os, name):
        delattr(os, name)
for name in "fcntl pwd grp resource termios tty pty".split():
    sys.modules[name] = None
"""

TOOL = f"""
import telemetryd
from telemetryd import Telemetry
telemetry = Telemetry("mytool", {MANIFEST!r}, project_dir=os.environ["PROJECT"])
"""


def play(tmp_path: Path, text: str, **variables: str) -> str:
    """What that prints. Nothing is made below ``tmp_path``, and no socket is opened."""
    (tmp_path / "home").mkdir(exist_ok=True)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    watch = (
        "sys.addaudithook(lambda event, _: event.startswith('socket.') and event != 'socket.__new__' "
        "and print(event, file=sys.stderr))\n"
    )
    places = {"HOME": str(tmp_path / "home"), "USERPROFILE": str(tmp_path / "home"), "PROJECT": str(tmp_path)}
    done = run(WINDOWS + watch + TOOL + text, env={**places, **variables})
    assert (done.returncode, done.stderr) == (0, "")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    return done.stdout


def test_everything_imports_and_an_event_goes_nowhere(tmp_path: Path) -> None:
    text = (
        "import telemetryd.integrations, telemetryd._attach, telemetryd._user_commands, telemetryd._ask\n"
        "print(telemetry.problems, telemetry.event('ran', n=1), telemetry.decision().allowed)\n"
    )
    assert play(tmp_path, text) == "[] False True\n"


@pytest.mark.parametrize("variable", ["DO_NOT_TRACK", "MYTOOL_OFF"])
def test_consent_is_read(tmp_path: Path, variable: str) -> None:
    text = "print(telemetry.event('ran', n=1), telemetry.decision().allowed)\n"
    assert play(tmp_path, text, **{variable: "1"}) == "False False\n"


def test_a_command_runs_as_it_does_without(tmp_path: Path) -> None:
    text = (
        "import click\n"
        "@click.group()\ndef cli(): ...\n"
        "@cli.command()\ndef run(): print('ran'); raise SystemExit(3)\n"
        "telemetry.attach(cli)\n"
        "assert telemetry.problems == [], telemetry.problems\n"
        "try: cli(['run'])\nexcept SystemExit as left: print(left.code)\n"
        "@telemetryd.track(telemetry)\ndef build(): return 7\n"
        "print(build(), telemetry.mask(['run', 'secret'], cli))\n"
    )
    assert play(tmp_path, text) == "ran\n3\n7 mytool run *****\n"
