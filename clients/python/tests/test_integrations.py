"""The real Kedro and the real dlt, with the plug-ins that they find by their entry points."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomllib
from programs import SOMEBODY, SOURCES, environment

from telemetryd.testing import Daemon, Home, Recorded, Sink

#: As they are shipped.
MANIFESTS = Path(__file__).parents[3] / "config/tools.d"


class Stage:
    """A home with both manifests, a socket that records, and this package as if it were installed."""

    def __init__(self, home: Home, recorded: Recorded, site: Path) -> None:
        self.home, self.recorded, self.site = home, recorded, site
        self.socket = recorded.socket
        self.work = home.root / "home/work"
        self.work.mkdir()
        project = tomllib.loads((Path(SOURCES).parent / "pyproject.toml").read_text())["project"]
        info = site / "telemetryd-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: telemetryd\nVersion: 0.1.0\n")
        groups = project["entry-points"].items()
        lines = (f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in groups)
        (info / "entry_points.txt").write_text("\n".join(lines))
        # kedro-telemetry, switched off: its entry points lead to an object without hooks.
        (site / "kedro_telemetry").mkdir()
        (site / "kedro_telemetry/__init__.py").write_text('__version__ = "0"\n')
        (site / "kedro_telemetry/plugin.py").write_text("telemetry_hook = object()\n")
        for tool in ("kedro", "dlt"):
            text = (MANIFESTS / f"{tool}.toml").read_text()
            home.write(f"data/telemetryd/tools.d/{tool}.toml", text)

    def run(self, *command: str, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        variables = {**self.home.environment, "TELEMETRYD_SOCKET": str(self.socket), **more}
        env = environment(**variables)
        env["PYTHONPATH"] = f"{self.site}:{SOURCES}"
        # Nobody is asked over the network, whatever a tool tries.
        env.update(HTTPS_PROXY="http://127.0.0.1:9", HTTP_PROXY="http://127.0.0.1:9")
        for name in ("TERM", "COLUMNS"):
            env.pop(name, None)
        return subprocess.run(
            [*SOMEBODY, *command],
            cwd=cwd or self.work,
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def kedro(self, *arguments: str, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "kedro", *arguments, cwd=cwd, **more)

    def project(self) -> Path:
        """A Kedro project with two nodes and three datasets, one of a user's own type."""
        root = self.work / "shop"
        files = {
            "pyproject.toml": '[project]\nname = "shop"\nversion = "0.1"\n[tool.kedro]\npackage_name = "shop"\n'
            'project_name = "Shop"\nkedro_init_version = "1.7.0"\ntools = "[\'Linting\', \'Testing\']"\n'
            'example_pipeline = "False"\nsource_dir = "src"\n[tool.kedro_telemetry]\n'
            'project_id = "0c1f0d3c1b7b4f0d8d3f5f6a7b8c9d0e"\n',
            "src/shop/__init__.py": "",
            "src/shop/settings.py": "",
            "src/shop/own.py": "from kedro.io import MemoryDataset\nclass SecretDataset(MemoryDataset): ...\n",
            "src/shop/pipeline_registry.py": "from kedro.pipeline import node, pipeline\n"
            "def one(): return 1\ndef two(x): return x\n"
            "def register_pipelines():\n"
            '    ds = pipeline([node(one, None, "a"), node(two, "a", "b")])\n'
            '    return {"__default__": ds, "ds": ds}\n',
            "conf/base/catalog.yml": "a:\n  type: MemoryDataset\nb:\n  type: MemoryDataset\n"
            "c:\n  type: shop.own.SecretDataset\n",
            "conf/local/.keep": "",
        }
        for name, text in files.items():
            self.home.write(root / name, text)
        return root


@pytest.fixture
def stage(home: Home, tmp_path: Path) -> Iterator[Stage]:
    recorded = Recorded(tmp_path)
    yield Stage(home, recorded, tmp_path)
    recorded.close()


def test_kedro_run_reports_the_statistics_with_its_masked_command(stage: Stage) -> None:
    project = stage.project()
    done = stage.kedro("run", "--pipeline", "ds", "--params=secret=1", cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    (event,) = stage.recorded.wait(1)
    assert (event["tool"], event["event"]) == ("kedro", "Kedro Project Statistics")
    stage.recorded.check(MANIFESTS / "kedro.toml")
    telemetry_version = event["properties"].pop("telemetry_version")
    assert telemetry_version.startswith("telemetryd ")
    assert event["properties"] == {
        "project_version": "1.7.0",
        "tools": "Linting, Testing",
        "example_pipeline": "False",
        "command": "kedro run --pipeline ***** --params *****",
        "main_command": "run",
        "number_of_datasets": 3,
        "number_of_nodes": 2,
        "number_of_pipelines": 2,
        "dataset_type_count.kedro.io.memory_dataset.MemoryDataset": 2,
        "dataset_type_count.custom": 1,
    }


def test_a_kedro_event_goes_the_whole_way_as_its_manifest_lets_it(stage: Stage, sink: Sink) -> None:
    project = stage.project()
    (project / "conf/base/logging.yml").write_text("version: 1\n")
    with Daemon(stage.home, sink):
        stage.socket = stage.home.socket
        assert stage.kedro("run", "--pipeline", "ds", cwd=project).returncode == 0
        (event,) = sink.wait(1)
    assert event["event"] == "Kedro Project Statistics" and event["tool_version"] == "1.7.0"
    properties = event["properties"]
    assert properties["command"] == "kedro run --pipeline *****" and properties["main_command"] == "run"
    assert properties["number_of_nodes"] == 2 and properties["dataset_type_count.custom"] == 1
    assert properties["is_ci_env"] is False and properties["python_version"].count(".") == 2
    # The project's own id is handed on as its hash, the same for a whole team.
    assert "0c1f0d3c1b7b4f0d8d3f5f6a7b8c9d0e" not in str(event) and properties["project_id"]
    assert "shop" not in str(event)


def test_other_kedro_commands_are_reported_when_they_end(stage: Stage) -> None:
    project = stage.project()
    before = (project / "pyproject.toml").read_text()
    assert stage.kedro("registry", "list", cwd=project).returncode == 0
    stage.kedro("frobnicate", "secret", cwd=project)
    first, second = stage.recorded.wait(2)
    assert (first["event"], first["properties"]["command"]) == ("CLI command", "kedro registry list")
    assert (second["event"], second["properties"]["command"]) == ("CLI command", "kedro ***** *****")
    assert second["properties"]["main_command"] == "*****"
    assert (project / "pyproject.toml").read_text() == before
    assert not (stage.home.root / "config/kedro").exists(), "no id was made"


@pytest.mark.parametrize("how", ["file", "DO_NOT_TRACK", "KEDRO_DISABLE_TELEMETRY", "machine", "malformed"])
def test_a_kedro_project_or_user_who_has_said_no_reports_nothing(stage: Stage, how: str) -> None:
    project = stage.project()
    environment = {how: ""} if how.isupper() else {}
    if how == "file":
        (project / ".telemetry").write_text("consent: false\n")
    if how == "malformed":
        (project / ".telemetry").write_text('consent: "false"\n')
    if how == "machine":
        stage.home.write("machine/opt-out", "")
    done = stage.kedro("registry", "list", cwd=project, **environment)
    assert done.returncode == 0, done.stderr
    assert stage.recorded.names == []


def test_kedro_new_without_telemetry_reports_nothing_of_itself(stage: Stage) -> None:
    for flag in (["--telemetry=no"], ["--telemetry", "n"], ["-tc", "no"]):
        stage.kedro("new", "--name", "x", "--tools", "bad tools", *flag)
    assert stage.recorded.names == []
    stage.kedro("new", "--name", "x", "--tools", "bad tools", "--telemetry=yes")
    (event,) = stage.recorded.wait(1)
    assert event["properties"]["command"] == "kedro new --name ***** --tools ***** --telemetry yes"


def test_without_an_installed_manifest_kedro_and_dlt_are_left_alone(stage: Stage) -> None:
    for manifest in (stage.home.root / "data/telemetryd/tools.d").iterdir():
        manifest.unlink()
    assert stage.kedro("registry", "list", cwd=stage.project()).returncode == 0
    text = "import dlt\ndlt.pipeline('x')\nfrom dlt.common.runtime import anon_tracker as a\n"
    done = stage.run(sys.executable, "-c", text + "print(a.before_send.__module__)")
    assert done.stdout == "dlt.common.runtime.anon_tracker\n", done.stderr
    assert stage.recorded.names == []


PIPELINE = """
import dlt

@dlt.resource
def secret_customers():
    yield {"id": 1}

info = dlt.pipeline("my_secret_pipe", destination="duckdb", dataset_name="d").run(secret_customers())
"""


def test_a_dlt_pipeline_reports_its_four_events_through_the_daemon_and_none_by_itself(stage: Stage) -> None:
    done = stage.run(sys.executable, "-c", PIPELINE)
    assert done.returncode == 0, done.stderr
    events = stage.recorded.wait(4)
    names = [event["event"] for event in events]
    assert names == ["pipeline_extract", "pipeline_normalize", "pipeline_load", "pipeline_run"]
    stage.recorded.check(MANIFESTS / "dlt.toml")
    load: dict[str, Any] = events[2]["properties"]
    assert load["success"] is True and load["destination_type"] == "dlt.destinations.duckdb"
    assert load["pipeline_name_hash"] == "Pbx4e7q7e0l7FIF3ILOa"
    assert not (stage.home.root / "home/.dlt/.anonymous_id").exists()


@pytest.mark.parametrize("how", ["DO_NOT_TRACK", "RUNTIME__DLTHUB_TELEMETRY", "project", "user"])
def test_a_dlt_user_who_has_said_no_reports_nothing_and_gets_no_id(stage: Stage, how: str) -> None:
    environment = {"DO_NOT_TRACK": {"DO_NOT_TRACK": "1"}, "RUNTIME__DLTHUB_TELEMETRY": {how: "false"}}.get(how, {})
    off = "[runtime]\ndlthub_telemetry = false\n"
    if how == "project":
        stage.home.write(stage.work / ".dlt/config.toml", off)
    if how == "user":
        stage.home.write("home/.dlt/config.toml", off)
    done = stage.run(sys.executable, "-c", PIPELINE, **environment)
    assert done.returncode == 0, done.stderr
    assert stage.recorded.names == []
    assert not list((stage.home.root / "home").rglob(".anonymous_id"))


def test_dlt_told_another_endpoint_sends_there_itself(stage: Stage) -> None:
    text = PIPELINE + (
        "from dlt.common.runtime import anon_tracker as a\n"
        "print(a._ANON_TRACKER_ENDPOINT, a.before_send({'event': 'x', 'properties': {}}))\n"
    )
    endpoint = "http://127.0.0.1:9/dlt"
    done = stage.run(sys.executable, "-c", text, RUNTIME__DLTHUB_TELEMETRY_ENDPOINT=endpoint)
    assert done.stdout == f"{endpoint} {{'event': 'x', 'properties': {{}}}}\n", done.stderr
    assert {event["redirected"] for event in stage.recorded.wait(5)} == {True}, "the daemon declines them"
