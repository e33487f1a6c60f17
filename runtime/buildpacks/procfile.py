"""Heroku's Procfile: one `type: command` a line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from runtime.errors import BuildFailed

_LINE = re.compile(r"([A-Za-z0-9_-]+)[ \t]*:[ \t]*(.*)")
_TYPE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,28}[A-Za-z0-9])?")
RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Procfile:
    """`release` is kept apart: it is a step of each release, not a process type."""

    process_types: dict[str, str] = field(default_factory=dict)
    release_command: str = ""


def parse_procfile(content: bytes) -> Procfile:
    """Raises `BuildFailed` with the id `procfile_invalid`, naming the line."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise _invalid(content[: exc.start].count(b"\n") + 1, "it is not UTF-8 text") from exc
    seen: dict[str, int] = {}
    commands: dict[str, str] = {}
    # Only these ends of lines: `splitlines` also splits at characters that a command may hold.
    for number, raw in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            shown = line if len(line) <= 60 else line[:59] + "…"
            raise _invalid(number, f'"{shown}" is not of the form "type: command"')
        name, command = match.groups()
        if "\0" in command:
            raise _invalid(number, "the command holds a zero byte")
        if not _TYPE.fullmatch(name):
            raise _invalid(
                number,
                f'"{name[:40]}" is no name for a process type (1 to 30 letters, digits, "-" and "_" within)',
            )
        if not command:
            raise _invalid(number, f'"{name}" has no command')
        if name in seen:
            raise _invalid(number, f'"{name}" was declared in line {seen[name]} already')
        seen[name] = number
        commands[name] = command
    return Procfile(
        process_types={name: command for name, command in commands.items() if name != RELEASE},
        release_command=commands.get(RELEASE, ""),
    )


def _invalid(line: int, reason: str) -> BuildFailed:
    return BuildFailed(
        f"The Procfile cannot be read: line {line}: {reason}.",
        hint='Write each process type as "type: command", such as "web: gunicorn app:app", and push again.',
        id="procfile_invalid",
    )
