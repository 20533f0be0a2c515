"""The vectors of consent, the same files that every client runs: facts in, decision and chain out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from telemetryd._consent.eyes import ABSENT, DIRECTORY, FILE, NOTHING, UNREADABLE, Eyes, Found
from telemetryd._consent.gather import Gathered
from telemetryd._places import Places

FOLDER = Path(__file__).parents[3] / "tests/vectors/consent"
MANIFESTS = "/usr/share/telemetryd/tools.d"


class Disk(Eyes):
    """A file system that is made up."""

    def __init__(self, case: dict[str, Any]) -> None:
        super().__init__()
        self.files: dict[str, Found] = {}
        self.owners: dict[str, int] = {}
        for path in (FOLDER / "manifests").iterdir():
            self.put(f"{MANIFESTS}/{path.name}", path.read_text())
        for path, what in case.get("files", {}).items():
            self.put(path, what)
        self.mounts = case.get("mounts", [])

    def put(self, path: str, what: Any) -> None:
        if isinstance(what, str):
            what = {"text": what}
        if what.get("directory"):
            self.files[path] = Found(DIRECTORY)
        elif "text" in what:
            self.files[path] = Found(FILE, what["text"])
        else:
            self.files[path] = Found(UNREADABLE, what["unreadable"])
        if "owner" in what:
            self.owners[path] = what["owner"]

    def look(self, path: str) -> Found:
        found = self.files.get(path, NOTHING)
        if found.kind not in (ABSENT, DIRECTORY):
            return found
        below = {file.removeprefix(path + "/").partition("/")[0] for file in self.files if file.startswith(path + "/")}
        return Found(DIRECTORY, names=tuple(sorted(below))) if below or found.kind == DIRECTORY else NOTHING

    def owner(self, path: str) -> int | None:
        return self.owners.get(path, 0)

    def device(self, path: str) -> int | None:
        for number, mount in enumerate(self.mounts):
            if path == mount or path.startswith(mount + "/"):
                return number + 1
        return 0


def cases() -> list[Any]:
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        for case in json.loads(path.read_text())["cases"]:
            found.append(pytest.param(case, id=f"{path.stem}: {case['name']}"))
    return found


def decide(case: dict[str, Any]) -> dict[str, Any]:
    environment = {"HOME": "/home/user", **case.get("environment", {})}
    places = Places(environment, case.get("uid", 1000), working=case.get("working", "/home/user/project"), real=False)
    gathered = Gathered(case["tool"], places, Disk(case))
    decision = gathered.decide(case.get("project"), case.get("invocation"))
    shown = decision.as_json()
    shown["line"] = decision.decider.line
    for link in shown["chain"]:
        del link["detail"]
    return shown


@pytest.mark.parametrize("case", cases())
def test_every_vector_is_decided_as_it_says(case: dict[str, Any]) -> None:
    assert decide(case) == case["expect"]


def test_the_vectors_are_all_here() -> None:
    assert len(cases()) >= 150
