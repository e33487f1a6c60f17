"""logs."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable

import click

from paas_client.api import Record, compact, path
from paas_client.options import app_option, command
from paas_client.session import current

SOURCES = ("app", "router", "platform")
AT_ONCE = 1000
LOOK_SECONDS = 0.8
COLOUR = re.compile(r"\x1b\[[0-9;:]*m")


@command("logs")
@app_option
@click.option("-t", "--tail", is_flag=True, help="Go on with what comes.")
@click.option("-n", "--num", default=100, show_default=True, help="How many lines to begin with.")
@click.option("-p", "--process", help="Only this process type or instance: web, web.1, run.7.")
@click.option("--source", type=click.Choice(SOURCES), help="Only what the app, the router or the platform said.")
@click.option("--release", help="Only lines of this release: v12.")
@click.option("--since", help="From then on: 30m, 2h, 1d, 2026-11-23T16:00 (UTC).")
@click.option("--until", help="Up to then.")
@click.option("--grep", "text", help="Only lines with this text, in whatever case.")
@click.option("--regex", is_flag=True, help="The text of --grep is a regular expression.")
def logs(app_name: str, *, tail: bool, num: int, regex: bool, **wanted: str | None) -> None:
    """Print what the app, the router and the platform said, also before the last deploy or crash."""
    api, address = current().api, path("apps", app_name, "log-lines")
    wishes: Record = compact({**wanted, "regex": "true" if regex else None})
    part = api.get(address, num=max(0, num), **wishes)
    _print(part["lines"])
    while tail:
        part = api.get(address, num=AT_ONCE, after=part["cursor"], **wishes)
        _print(part["lines"])
        if not part["lines"]:
            time.sleep(LOOK_SECONDS)


def _print(lines: Iterable[Record]) -> None:
    """Colours are for terminals."""
    with_colours = sys.stdout.isatty()
    for line in lines:
        click.echo(f"{line['at']} {line['label']}: {line['text'] if with_colours else COLOUR.sub('', line['text'])}")
    sys.stdout.flush()


COMMANDS = [logs]
