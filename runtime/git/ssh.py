"""git's commands as they come over SSH: `git-receive-pack '/app.git'`."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from runtime.errors import InvalidInput, NotFound
from runtime.git.api import NAME, Service

_COMMAND = re.compile(r"git[- ](receive-pack|upload-pack|upload-archive)(?:\s+(.*))?", re.DOTALL)
_PATH = re.compile(rf"/?({NAME})(?:\.git)?/?")
_SERVICES: dict[str, Service] = {"receive-pack": "git-receive-pack", "upload-pack": "git-upload-pack"}


@dataclass(frozen=True, slots=True)
class GitCommand:
    service: Service
    app_name: str


def parse_command(text: str) -> GitCommand | None:
    """None: not a command of git's. Raises `InvalidInput` and `NotFound` for those that nobody answers here."""
    command = _COMMAND.fullmatch(text.strip())
    if command is None:
        return None
    name, rest = command[1], command[2] or ""
    if name not in _SERVICES:
        raise InvalidInput(
            f"git {name} is not served here.", hint="Clone the app, then: git archive HEAD", id="git_service"
        )
    try:
        arguments = shlex.split(rest)
    except ValueError:
        arguments = []
    path = _PATH.fullmatch(arguments[0]) if len(arguments) == 1 else None
    if path is None:
        raise NotFound("Nothing here. The address of a repository is /<app>.git", id="no_repository")
    return GitCommand(_SERVICES[name], path[1])
