"""logs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

import click

from paas.accounts.selectors import first_admin
from paas.cli.common import app_option, find_app
from paas.cli.machine import host_command
from paas.logs.selectors import app_log, log_filter
from runtime.logs.record import Line, Source

LOOK_SECONDS = 0.2


@host_command("logs")
@app_option
@click.option("-t", "--tail", is_flag=True, help="Go on with what comes.")
@click.option("-n", "--num", default=100, show_default=True, help="How many lines to begin with.")
@click.option("-p", "--process", default="", help="Only this process type or instance: web, web.1, run.7.")
@click.option(
    "--source",
    type=click.Choice([source.value for source in Source]),
    help="Only what the app, the router or the platform said.",
)
@click.option("--release", default="", help="Only lines of this release: v12.")
@click.option("--since", default="", help="From then on: 30m, 2h, 1d, 2026-11-23T16:00 (UTC).")
@click.option("--until", default="", help="Up to then.")
@click.option("--grep", "text", default="", help="Only lines with this text, in whatever case.")
@click.option("--regex", is_flag=True, help="The text of --grep is a regular expression.")
def logs(app_name: str, *, tail: bool, num: int, source: str | None, text: str, regex: bool, **fields: str) -> None:
    """Print what the app, the router and the platform said, also before the last deploy or crash."""
    app = find_app(app_name)
    wanted = log_filter(app, first_admin(), source=source or "", text=text, is_pattern=regex, **fields)
    reader = app_log(app)
    position = reader.end()
    _print(reader.newest(wanted, max(0, num), before=position).lines)
    while tail:
        lines, position = reader.after(position, wanted, 1000)
        _print(lines)
        if not lines:
            time.sleep(LOOK_SECONDS)


def _print(lines: Iterable[Line]) -> None:
    """Colours are for terminals."""
    with_colours = sys.stdout.isatty()
    for line in lines:
        click.echo(f"{line.stamp} {line.label}: {line.text if with_colours else line.plain}")


COMMANDS = [logs]
