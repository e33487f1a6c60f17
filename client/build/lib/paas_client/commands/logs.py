"""logs."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable
from urllib.parse import quote

import click

from paas_client.api import Record, compact, events, path
from paas_client.errors import PlatformProblem, UserProblem
from paas_client.options import app_option, command
from paas_client.session import current

SOURCES = ("app", "router", "platform")
PATIENCE = 60.0  # a session says something every few seconds, if only that it lives
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
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
    _print(f"{line['at']} {line['label']}: {line['text']}" for line in part["lines"])
    if tail:
        _follow(app_name, part["cursor"], {**wanted, "regex": regex})


def _follow(app_name: str, cursor: str, wanted: Record) -> None:
    """From the cursor on, by a log session, and by another one when that is over; until Ctrl-C."""
    api, url, pause = current().api, "", FIRST_PAUSE
    wish = {**wanted, "dyno": wanted["process"], "tail": True, "lines": 0}
    while True:
        try:
            url = url or api.post(path("apps", app_name, "log-sessions"), compact(wish))["logplex_url"]
            with api.stream(f"{url}?after={quote(cursor)}", accept="text/event-stream", patience=PATIENCE) as answer:
                for _, data, position in events(answer):
                    _print([data])
                    cursor, pause = position or cursor, FIRST_PAUSE
        except UserProblem as exc:
            if not url or exc.id == "unauthorized":
                raise
            url = ""  # forgotten, as nobody read for a while
        except PlatformProblem:
            if pause > LONGEST_PAUSE:
                raise
        time.sleep(pause)
        pause *= 2


def _print(lines: Iterable[str]) -> None:
    """Colours are for terminals."""
    with_colours = sys.stdout.isatty()
    for line in lines:
        click.echo(line if with_colours else COLOUR.sub("", line))
    sys.stdout.flush()


COMMANDS = [logs]
