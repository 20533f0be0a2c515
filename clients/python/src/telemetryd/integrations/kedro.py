"""Kedro: what kedro-telemetry reports, through the daemon.

One event a command: ``CLI command`` when it has ended, or ``Kedro Project Statistics`` when its catalog was made.
The arguments are masked by Kedro's own command tree. ``.telemetry`` and the variables are the manifest's to name and
are read as it says; ``kedro new --telemetry=no`` holds for that command too. Ids that Kedro's own plug-in has made
are handed on as keys; none is made, and nobody's ``pyproject.toml`` is written to.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from kedro.framework.cli.hooks import cli_hook_impl
from kedro.framework.hooks import hook_impl

from .. import __version__
from .._spool import Masked
from .._telemetry import Telemetry
from . import installed

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

#: Types of datasets and libraries of validators whose names are public (kedro-telemetry 0.9).
_PUBLIC_DATASETS = ("kedro_datasets.", "kedro.io.", "kedro_datasets_experimental.")
_PUBLIC_VALIDATORS = ("pandera", "pydantic", "great_expectations", "kedro", "kedro_datasets")


class Hooks:
    """Kedro's hooks; one object for its command line and its project."""

    def __init__(self) -> None:
        self._telemetry: Telemetry | None = None
        self._properties: dict[str, Any] = {}
        self._sent = False

    @cli_hook_impl
    def before_command_run(self, project_metadata: Any, command_args: list[str]) -> None:
        """Masks the command line, while Kedro's command tree is at hand."""
        try:
            path = project_metadata.project_path if project_metadata else None
            telemetry = self._begin(path, _flag(command_args))
            if telemetry:
                masked = telemetry.mask(command_args, _cli(path))
                self._properties["command"] = masked
                self._properties["main_command"] = Masked((masked.split(" ") + ["kedro"])[1])
        except Exception:
            logger.debug("telemetry: the command is not reported", exc_info=True)

    @cli_hook_impl
    def after_command_run(self) -> None:
        """Reports the command, unless the statistics had it with them."""
        self._send("CLI command")

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """A session that no command line has begun (a notebook, a script) is reported too."""
        try:
            if self._telemetry is None:
                self._begin(context.project_path, None)
        except Exception:
            logger.debug("telemetry: the project is not reported", exc_info=True)

    @hook_impl
    def after_catalog_created(self, catalog: Any) -> None:
        """Reports the project's statistics."""
        try:
            if self._telemetry and not self._sent:
                from kedro.framework.project import pipelines

                self._properties.update(_statistics(catalog, pipelines))
                self._send("Kedro Project Statistics")
        except Exception:
            logger.debug("telemetry: the project is not reported", exc_info=True)

    def _begin(self, project: Path | None, consent: bool | None) -> Telemetry | None:
        from kedro import __version__ as version

        telemetry = Telemetry("kedro", version=version, project_dir=project, consent=consent)
        if not installed(telemetry):
            return None
        notice = telemetry.notice()
        if notice:
            logger.info(notice)
        telemetry.user = _user()
        self._properties = {"project_version": version, "telemetry_version": f"telemetryd {__version__}"}
        if project:
            telemetry.project = _describe(project, self._properties) or str(project)
        self._telemetry, self._sent = telemetry, False
        return telemetry

    def _send(self, event: str) -> None:
        if self._telemetry and not self._sent:
            self._sent = True
            self._telemetry.event(event, **self._properties)


def _flag(arguments: list[str]) -> bool | None:
    """What ``kedro new --telemetry=…`` says."""
    if arguments[:1] != ["new"]:
        return None
    for at, word in enumerate(arguments):
        option, equals, value = word.partition("=")
        if option in ("--telemetry", "-tc"):
            answer = value if equals else "".join(arguments[at + 1 : at + 2])
            return answer.strip().lower() in ("y", "yes", "true", "t", "1", "on")
    return None


def _cli(project: Path | None) -> Any:
    """Kedro's command tree: the one that runs, for it calls us, or one made for it."""
    from kedro.framework.cli.cli import KedroCLI

    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        running = frame.f_locals.get("self") if frame.f_code.co_name == "main" else None
        if isinstance(running, KedroCLI):
            return running
    from pathlib import Path

    return KedroCLI(project_path=project or Path.cwd())


def _user() -> str | None:
    """The id that Kedro's own plug-in has made for this user."""
    try:
        from appdirs import user_config_dir

        table = _toml(f"{user_config_dir('kedro')}/telemetry.toml").get("telemetry")
        found = table.get("uuid") if isinstance(table, dict) else None
        return found if isinstance(found, str) and found else None
    except ImportError:
        return None


def _describe(project: Path, properties: dict[str, Any]) -> str | None:
    """What the project's ``pyproject.toml`` tells: the tools chosen at its creation, and its id."""
    tool = _toml(f"{project}/pyproject.toml").get("tool")
    tool = tool if isinstance(tool, dict) else {}
    kedro, own = tool.get("kedro"), tool.get("kedro_telemetry")
    for name in ("tools", "example_pipeline"):
        told = kedro.get(name) if isinstance(kedro, dict) else None
        if told is not None:
            # Kedro's template writes a list as Python shows it.
            words = told if isinstance(told, list) else str(told).strip("[]").split(",")
            properties[name] = ", ".join(str(word).strip(" '\"") for word in words)
    found = own.get("project_id") if isinstance(own, dict) else None
    return found if isinstance(found, str) else None


def _toml(path: str) -> dict[str, Any]:
    from .._consent.toml_lines import Mistake, parse

    try:
        with open(path, encoding="utf-8") as file:
            return parse(file.read())
    except (OSError, Mistake, UnicodeDecodeError):
        return {}


def _statistics(catalog: Any, pipelines: Any) -> dict[str, Any]:
    names = [
        name
        for name in (catalog.keys() if hasattr(catalog, "keys") else catalog.list())
        if not name.startswith(("parameters", "params:"))
    ]
    default = pipelines.get("__default__")
    properties: dict[str, Any] = {
        "number_of_datasets": len(names),
        "number_of_nodes": len(default.nodes) if default else None,
        "number_of_pipelines": len(pipelines.keys()),
    }
    if hasattr(catalog, "get_type"):
        for name in names:
            kind = catalog.get_type(name) or ""
            _count(properties, "dataset_type_count", kind if kind.startswith(_PUBLIC_DATASETS) else "custom")
    validators = getattr(catalog, "validator_specs", None)
    if validators:
        properties["number_of_validated_datasets"] = len(validators)
        for spec in validators.values():
            library = (getattr(spec, "class_path", "") or "").split(".")[0]
            _count(properties, "validator_type_count", library if library in _PUBLIC_VALIDATORS else "custom")
    return properties


def _count(properties: dict[str, Any], what: str, kind: str) -> None:
    name = f"{what}.{kind}"
    properties[name] = properties.get(name, 0) + 1


#: What Kedro's entry points lead to.
hooks = Hooks()
