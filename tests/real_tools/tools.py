"""Kedro, dlt and Evidently as they are on PyPI (requirements.txt), each with a project of its own, run against an endpoint
that the caller names. Nothing of a person's home or of this machine's is read or written."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

HOOK = Path(__file__).with_name("hook")
PROGRAMS = Path(sys.executable).parent
# What a shell or a CI has set must not decide.
SILENT = [
    "DO_NOT_TRACK", "CI", "KEDRO_DISABLE_TELEMETRY", "EVIDENTLY_DISABLE_TELEMETRY", "HTTP_PROXY", "http_proxy",
    "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy",
]


# What stands before a tool's command: another view of the machine, for times.py.
BEFORE = []


def user():
    """Runs what follows as somebody who is not root: root's dlt keeps its things in /var."""
    if os.geteuid() != 0:
        return []
    return [*BEFORE, "unshare", "--user", "--map-user=1000", "--map-group=1000"]


class Tool:
    """A tool with a place of its own. `run` runs its command once, and returns how many seconds that took."""

    def __init__(self, place):
        self.place = Path(place) / type(self).__name__.lower()
        self.home = self.place / "home"
        self.home.mkdir(parents=True)
        self.prepare()

    def environment(self, more=None):
        kept = {name: value for name, value in os.environ.items() if name not in SILENT and "__" not in name}
        own = {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_DATA_HOME": str(self.home / ".local/share"),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONWARNINGS": "ignore",
            "NO_COLOR": "1",
        }
        return {**kept, **own, **(more or {})}

    def command(self, arguments, more=None, folder=None):
        began = time.monotonic()
        ended = subprocess.run(
            user() + [str(argument) for argument in arguments],
            cwd=folder or self.place,
            env=self.environment(more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
            text=True,
        )
        if ended.returncode != 0:
            raise AssertionError(f"{arguments} ended with {ended.returncode}:\n{ended.stdout}")
        return time.monotonic() - began

    def prepare(self):
        pass


class Kedro(Tool):
    """`kedro run` in a project of one pipeline: it sends one event, before the pipeline runs."""

    events = ["Kedro Project Statistics"]

    def prepare(self):
        new = ["new", "--name", "Demo", "--tools", "none", "--example", "n", "--telemetry", "yes"]
        self.command([PROGRAMS / "kedro", *new], {"KEDRO_DISABLE_TELEMETRY": "1"})
        self.project = self.place / "demo"
        pipeline = self.project / "src/demo/pipelines/one"
        pipeline.mkdir(parents=True)
        (pipeline / "__init__.py").write_text("from .pipeline import create_pipeline\n")
        (pipeline / "pipeline.py").write_text(
            "from kedro.pipeline import Pipeline, node\n\n\n"
            "def create_pipeline(**_):\n"
            "    return Pipeline([node(lambda: 1, inputs=None, outputs='a', name='one')])\n"
        )
        (self.project / "conf/base/catalog.yml").write_text("a:\n  type: MemoryDataset\n")

    def run(self, endpoint, more=None):
        """`endpoint`: Heap's track URL; `None` leaves the vendor's."""
        where = {"PYTHONPATH": str(HOOK), "REAL_TOOLS_HEAP_ENDPOINT": endpoint} if endpoint else {}
        return self.command([PROGRAMS / "kedro", "run"], {**where, **(more or {})}, self.project)


class Dlt(Tool):
    """A pipeline of one table into duckdb: it sends four events, while it runs."""

    events = ["pipeline_extract", "pipeline_normalize", "pipeline_load", "pipeline_run"]

    def prepare(self):
        (self.place / "pipeline.py").write_text(
            "import dlt\n\n"
            "pipeline = dlt.pipeline('demo', destination='duckdb', dataset_name='rows')\n"
            "pipeline.run([{'id': 1}, {'id': 2}], table_name='numbers')\n"
        )

    def run(self, endpoint, more=None):
        """`endpoint`: the whole URL of a Segment-like tracker; `None` leaves the vendor's."""
        where = {"RUNTIME__DLTHUB_TELEMETRY_ENDPOINT": endpoint} if endpoint else {}
        return self.command([sys.executable, "pipeline.py"], {**where, **(more or {})})


class Evidently(Tool):
    """`evidently ui`, asked for its projects once: it sends one event, from a process of its own."""

    events = ["list_projects"]

    def run(self, endpoint, more=None):
        """`endpoint`: Jitsu's event URL without the token, which it adds; `None` leaves the vendor's. The time is that of
        the request to the service."""
        port = free_port()
        arguments = ["--host", "127.0.0.1", "--port", str(port), "--workspace", str(self.place / "workspace")]
        if endpoint:
            config = self.place / "ui.yaml"
            config.write_text(f"telemetry:\n  url: {endpoint}\n  token: the-token\n")
            arguments += ["--conf-path", str(config)]
        with open(self.place / "log", "w") as log:
            service = subprocess.Popen(
                user() + [str(PROGRAMS / "evidently"), "ui", *arguments],
                cwd=self.place,
                env=self.environment(more),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                wait_for_port(port, service, self.place / "log")
                began = time.monotonic()
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/projects", timeout=60) as answer:
                    json.load(answer)
                return time.monotonic() - began
            finally:
                service.terminate()
                service.wait(timeout=60)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for_port(port, process, log, seconds=120):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            raise AssertionError(f"it ended with {process.returncode}:\n{log.read_text()}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"nothing listens at {port}:\n{log.read_text()}")


class Sink:
    """`telemetryctl sink`: the vendor's endpoint. What it has received is in `requests()`."""

    def __init__(self, place, *more):
        self.out = Path(place) / "received.ndjson"
        self.out.write_text("")
        program = os.environ.get("TELEMETRYCTL_BIN") or shutil.which("telemetryctl")
        self.process = subprocess.Popen(
            [program, "sink", "--json", "--out", str(self.out), *more], stdout=subprocess.PIPE, text=True
        )
        self.url = json.loads(self.process.stdout.readline())["url"].rstrip("/")

    def requests(self):
        return [json.loads(line) for line in self.out.read_text().splitlines()]

    def events(self):
        return [event for request in self.requests() for event in request.get("events", [])]

    def wait_for(self, count, seconds=60):
        until = time.monotonic() + seconds
        while len(self.events()) < count and time.monotonic() < until:
            time.sleep(0.05)
        return self.events()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()
