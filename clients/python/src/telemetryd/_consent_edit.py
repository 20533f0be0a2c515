"""The user's ``consent.toml`` after a change of mind, the rest of it kept to the letter."""

from __future__ import annotations

import os

from ._consent.toml_lines import Mistake, line_of, parse


def write_word(path: str, tool: str, on: bool) -> None:
    """Remembers a word about ``tool`` in the file at ``path``, whole or not at all. A :class:`Mistake`, and nothing
    changed, where the file cannot be obeyed as it stands."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
    except FileNotFoundError:
        text = ""
    except UnicodeDecodeError:
        raise Mistake(1, "not UTF-8") from None
    changed = edited(text, tool, on)
    if changed == text:
        return
    directory = os.path.dirname(path)
    os.makedirs(directory, 0o700, exist_ok=True)
    target = os.path.realpath(path)
    temporary = f"{target}.{os.getpid()}.tmp"
    mode = 0o600
    if text:
        mode = os.stat(target).st_mode & 0o777
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), mode)
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(changed)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise


def edited(text: str, tool: str, on: bool) -> str:
    """The text with ``tool = on`` in its ``[tools]``."""
    tools = parse(text).get("tools", {})
    if not isinstance(tools, dict):
        raise Mistake(line_of(text, ("tools",)), "tools: not a table")
    if tools.get(tool) is on:
        return text
    word = "true" if on else "false"
    key = f'"{tool}"' if "." in tool else tool
    lines = text.splitlines(keepends=True)
    candidates = []
    if isinstance(tools.get(tool), bool):
        number = line_of(text, ("tools", tool)) - 1
        old = "true" if tools[tool] else "false"
        before, equals, after = lines[number].partition("=")
        line = before + equals + after.replace(old, word, 1)
        candidates.append([*lines[:number], line, *lines[number + 1 :]])
    elif tool not in tools:
        end = "\r\n" if text.endswith("\r\n") else "\n"
        for number, line in enumerate(lines):
            if line.strip().partition("#")[0].rstrip() == "[tools]":
                own = line if line.endswith("\n") else line + end
                candidates.append([*lines[:number], own, f"{key} = {word}{end}", *lines[number + 1 :]])
        whole = text if not text or text.endswith("\n") else text + end
        candidates.append([whole, f"{end}[tools]{end}{key} = {word}{end}" if text else f"[tools]\n{key} = {word}\n"])
    # What was written is read again before anything is believed of it.
    wanted = parse(text)
    wanted["tools"] = {**tools, tool: on}
    for candidate in candidates:
        changed = "".join(candidate)
        try:
            if parse(changed) == wanted:
                return changed
        except Mistake:
            continue
    raise Mistake(line_of(text, ("tools", tool)), f"cannot be changed by a program; write {key} = {word} under [tools]")
