"""What a process sees of consent at one moment, kept for the next event as long as nothing has changed."""

from __future__ import annotations

import os

from ._consent import gather
from ._consent.eyes import Eyes
from ._places import Places, of_this_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._consent.facts import Decision, Fact
    from ._manifest import Manifest
    from ._telemetry import Telemetry


class Seen:
    """What a process saw of consent at one moment, and whether it still holds."""

    def __init__(self, telemetry: Telemetry, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self.key = _key(telemetry)
        self.eyes = Eyes()
        self.places: Places = of_this_process(telemetry._environment())
        self.gathered = gather.Gathered(telemetry.name, self.places, self.eyes, telemetry.manifest)
        self.decision: Decision = self.gathered.decide(telemetry.project_dir, telemetry.consent)
        self.denial: Fact | None = gather.denial(self.decision)
        self.projects = self.gathered.project_names(telemetry.project_dir)
        registered = self.gathered.registered
        self.manifest = registered.manifest if registered else None
        self.register = _has_to_register(telemetry.manifest, registered)
        #: Whether the daemon was told of the denial.
        self.told = False

    def holds(self, telemetry: Telemetry, environment: Mapping[str, str]) -> bool:
        return environment == self.environment and self.key == _key(telemetry) and self.eyes.unchanged()


def _key(telemetry: Telemetry) -> tuple[object, ...]:
    try:
        working = os.getcwd()
    except OSError:
        working = ""
    return (working, telemetry.project_dir, telemetry.consent)


def _has_to_register(own: Manifest | None, registered: gather.Registered | None) -> bool:
    """Whether the daemon has to be told the manifest that the tool brings."""
    if own is None or not own.may_register:
        return False
    if registered is None:
        return True
    return registered.origin == gather.REGISTERED and (
        registered.source == "registered" or registered.manifest.text != own.text
    )
