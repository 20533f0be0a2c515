"""The question, for a tool that wants one: at a real terminal, or not at all. What nobody sees is no question."""

from __future__ import annotations

import os
import sys

from ._consent.facts import USER
from ._consent.own_files import project_root
from ._consent_edit import change, edited_toml, edited_yaml
from ._way import tell_denial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._telemetry import Telemetry

#: Answers that are none, before it is given up.
_TRIES = 3


def ask(telemetry: Telemetry, text: str | None, save: str) -> bool | None:
    """Asks and remembers; ``None``: nothing was asked, or not answered, and nothing recorded."""
    seen = telemetry._look()
    if seen.denial is not None and seen.denial.layer < USER:
        return None  # the answer would change nothing
    if not (sys.stdin and sys.stderr and sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    notice = telemetry.notice()
    said = text if text is not None else notice or (seen.manifest.notice_text if seen.manifest else "")
    if said:
        sys.stderr.write(f"{said.rstrip()}\n")
    answer = _prompt(f"May {telemetry.name} send usage data? [y/N] ")
    if answer is None:
        return None
    if save == "project":
        _in_project(telemetry, answer)
    else:
        _for_user(telemetry, answer)
    return answer


def _prompt(question: str) -> bool | None:
    for _ in range(_TRIES):
        sys.stderr.write(question)
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            sys.stderr.write("\n")
            return None
        word = line.strip().lower()
        if word in ("y", "yes"):
            return True
        if word in ("", "n", "no"):
            return False
        sys.stderr.write("Please answer y or n.\n")
    return None


def _for_user(telemetry: Telemetry, answer: bool) -> None:
    from ._user_commands import remember

    remember(telemetry, answer)


def _in_project(telemetry: Telemetry, answer: bool) -> None:
    """In the first file that the manifest names; one that is made for it goes into `.gitignore` where there is one."""
    seen = telemetry._look()
    files = seen.manifest.project_files[:1] if seen.manifest else []
    start = seen.gathered._start(telemetry.project_dir)
    root = project_root(files, start, seen.places.home, seen.eyes) if start else None
    if root is None:
        raise OSError("this tool has no file in a project")
    file = files[0]

    def edit(text: str) -> str:
        if file.format == "yaml":
            return edited_yaml(text, file.key[0], answer)
        return edited_toml(text, file.key, answer)

    ignored = f"{root}/.gitignore"
    if change(f"{root}/{file.path}", edit) and os.path.isfile(ignored):
        with open(ignored, encoding="utf-8") as lines:
            text = lines.read()
        if not any(line.strip().lstrip("/") == file.path for line in text.splitlines()):
            with open(ignored, "a", encoding="utf-8") as lines:
                lines.write(f"{'' if not text or text.endswith(chr(10)) else chr(10)}{file.path}\n")
    if not answer:
        # What is queued of the project is erased by a daemon that is there.
        seen = telemetry._look()
        if seen.denial is not None:
            tell_denial(telemetry, seen)
