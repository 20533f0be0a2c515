"""The vectors of context: where a client says it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from telemetryd import _context

FOLDER = Path(__file__).parents[3] / "tests/vectors/context"


def cases() -> list[Any]:
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        for case in json.loads(path.read_text())["cases"]:
            found.append(pytest.param(case, id=f"{path.stem}: {case['environment']} {case.get('files', '')}"))
    return found


@pytest.mark.parametrize("case", cases())
def test_every_vector_is_seen_as_it_says(case: dict[str, Any]) -> None:
    environment, files = case["environment"], case.get("files", [])
    assert _context.ci(environment) == case["ci"]
    assert _context.exec_info(environment, files.__contains__) == case["exec_info"]
    expected = {"venv": case.get("venv", False), "conda": case.get("conda", False)}
    assert _context.environments(environment) == expected


def test_the_vectors_are_all_here() -> None:
    assert len(cases()) >= 100


def test_what_is_loaded_is_known_and_the_ci_has_its_name() -> None:
    assert _context.exec_info({}, lambda _: False, ["ipykernel", "marimo"]) == ["notebook", "marimo"]
    facts = _context.context({"GITLAB_CI": "true", "VIRTUAL_ENV": "/x"})
    assert (facts["ci"], facts["ci_name"], facts["venv"], facts["conda"]) == (True, "gitlab", True, False)
    assert facts["runtime"]["name"] == "python" and facts["library"]["name"] == "telemetryd-python"
    assert "ci_name" not in _context.context({"CI": "false"})
