"""docs/reference/heroku-cli.md, read: what it says of each command."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tests.e2e.harness import CHECKOUT

PAGE = CHECKOUT / "docs" / "reference" / "heroku-cli.md"
VERDICTS = {"works", "local", "refused", "no sense"}


def table() -> dict[str, str]:
    """The verdict on each command or topic (`pg:*`), in the words of the page."""
    found: dict[str, str] = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 3:
            for command in re.findall(r"`([^`]+)`", cells[0]):
                assert command not in found, f"{PAGE.name} speaks twice of {command}"
                assert cells[1] in VERDICTS, f"{PAGE.name} says {cells[1]!r} of {command}"
                found[command] = cells[1]
    return found


def line_for(command: str, lines: Iterable[str]) -> str | None:
    """The most exact line that speaks of a command."""
    fitting = [line for line in lines if line == command or (line.endswith(":*") and command.startswith(line[:-1]))]
    return max(fitting, key=len, default=None)
