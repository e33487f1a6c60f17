"""What people see: results on stdout, talk on stderr; tables that fit, colours for terminals alone."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone

import click

NARROWEST = 8  # a column does not get narrower than this
GOOD = {"up", "active", "current", "succeeded", "live", "well", "on", "delivered"}
BAD = {"crashed", "failed", "down", "deactivated", "expired", "ill"}
ON_THE_WAY = {"starting", "pending", "queued", "building", "releasing", "stopping", "coming", "stopped", "cancelled"}


def say(text: str = "") -> None:
    """Talk, on stderr."""
    click.echo(text, err=True)


def show(text: str) -> None:
    """A result, on stdout."""
    click.echo(text)


def show_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2))


def table(rows: Iterable[Sequence[object]], heads: Sequence[str]) -> None:
    """Columns aligned; an empty table prints nothing. In a terminal the widest columns give way until it fits."""
    cells = [[text_of(cell) for cell in row] for row in rows]
    if not cells:
        return
    lines = [list(heads), *cells]
    widths = [max(len(line[n]) for line in lines) for n in range(len(heads))]
    if sys.stdout.isatty():
        _fit(widths, [len(head) for head in heads], shutil.get_terminal_size().columns)
    for number, line in enumerate(lines):
        texts = [_cut(text, width) for text, width in zip(line, widths, strict=True)]
        padded = [
            (_bold(text) if number == 0 else _coloured(text)) + " " * (width - len(text))
            for text, width in zip(texts, widths, strict=True)
        ]
        while padded and not texts[len(padded) - 1]:
            padded.pop()
        last = texts[len(padded) - 1]
        padded[-1] = _bold(last) if number == 0 else _coloured(last)
        click.echo("  ".join(padded))


def _fit(widths: list[int], least: Sequence[int], room: int) -> None:
    while sum(widths) + 2 * (len(widths) - 1) > room:
        widest = max(range(len(widths)), key=lambda n: widths[n])
        if widths[widest] <= max(NARROWEST, least[widest]):
            return
        widths[widest] -= 1


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _bold(text: str) -> str:
    return click.style(text, bold=True) if text and sys.stdout.isatty() else text


def _coloured(text: str) -> str:
    colour = "green" if text in GOOD else "red" if text in BAD else "yellow" if text in ON_THE_WAY else ""
    return click.style(text, fg=colour) if colour and sys.stdout.isatty() else text


def text_of(cell: object) -> str:
    return "" if cell is None else str(cell)


def at(moment: object) -> str:
    """A time of the API as people read it, in UTC; nothing for none."""
    return "" if not moment else parsed(str(moment)).strftime("%Y-%m-%d %H:%M:%S")


def parsed(moment: str) -> datetime:
    """`2026-11-25T14:30:00Z`, with or without a fraction."""
    found = datetime.fromisoformat(moment.replace("Z", "+00:00"))  # Python 3.10 does not know Z
    return found.astimezone(timezone.utc)


@contextmanager
def progress(what: str) -> Iterator[Ending]:
    """`Scaling web to 3… done`. What goes wrong in it is told by whoever catches it, on a line of its own."""
    click.echo(f"{what}… ", nl=False, err=True)
    ending = Ending()
    try:
        yield ending
    except BaseException:
        click.echo(ending.failed, err=True)
        raise
    click.echo(ending.text, err=True)


class Ending:
    """How the line of a `progress` ends."""

    text = "done"
    failed = "failed"


def assignments(pairs: Iterable[str]) -> Mapping[str, str]:
    """`NAME=value` arguments. Raises click's usage error."""
    found = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign:
            raise click.UsageError(f"{pair!r} is not NAME=value.")
        found[name] = value
    return found


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
