"""`.dockerignore`: which files of the source are not part of the build. The rules are Docker's: the last pattern that
matches a path, or a folder above it, decides; `!` takes it back in; `**` spans folders."""

from __future__ import annotations

import re
from collections.abc import Callable


def ignore_matcher(content: bytes) -> Callable[[str], bool]:
    """Tells whether a path is left out."""
    rules: list[tuple[bool, re.Pattern[str]]] = []
    for raw in content.decode("utf-8-sig", "replace").splitlines():
        if raw.startswith("#"):
            continue
        pattern = raw.strip()
        leaves_out = not pattern.startswith("!")
        parts = [part for part in pattern.removeprefix("!").strip().split("/") if part not in {"", "."}]
        cleaned: list[str] = []
        for part in parts:
            if part != "..":
                cleaned.append(part)
            elif cleaned:
                cleaned.pop()
        if cleaned:
            rules.append((leaves_out, re.compile(_expression("/".join(cleaned)) + r"(?:/.*)?", re.DOTALL)))

    def is_ignored(path: str) -> bool:
        ignored = False
        for leaves_out, expression in rules:
            if leaves_out != ignored and expression.fullmatch(path):
                ignored = leaves_out
        return ignored

    return is_ignored


def _expression(pattern: str) -> str:
    out = ""
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if pattern.startswith("**", at):
            at += 2
            if pattern.startswith("/", at):
                at += 1
                out += "(?:.*/)?"
            else:
                out += ".*"
            continue
        if character == "*":
            out += "[^/]*"
        elif character == "?":
            out += "[^/]"
        elif character == "[" and (end := pattern.find("]", at + 2)) > 0:
            inner = pattern[at + 1 : end]
            negated = "^" if inner[:1] in {"^", "!"} else ""
            members = inner[len(negated) :].replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
            out += f"[{negated}{members}]"
            at = end
        elif character == "\\" and at + 1 < len(pattern):
            at += 1
            out += re.escape(pattern[at])
        else:
            out += re.escape(character)
        at += 1
    return out
