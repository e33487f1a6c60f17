"""audit: who did what."""

from __future__ import annotations

import csv
import sys

import click

from paas_client.api import Record, dumps
from paas_client.options import command, complete_apps, json_option
from paas_client.output import at, show_json, table
from paas_client.session import current


@command("audit")
@click.option("-a", "--app", help="Only what happened to this app.", shell_complete=complete_apps)
@click.option("--actor", help="Only what somebody with this in the e-mail did.")
@click.option("--action", help="Only this action, or those that begin with it: release, access.add.")
@click.option("--since", help="Only from this day or time on: 2026-11-25, 2026-11-25T14:30.")
@click.option("--until", help="Only before this day or time.")
@click.option("--search", "text", help="Only with all of these words.")
@click.option("-n", "--num", default=50, show_default=True, help="How many, newest first; 0 for all.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@json_option
def audit(num: int, as_csv: bool, as_json: bool, **wanted: str | None) -> None:
    """Show who did what, from where and through which door."""
    api = current().api
    if as_csv:
        query = {name: value for name, value in wanted.items() if value}
        with api.stream("/audit-events.csv", query=query) as answer:
            writer = csv.writer(sys.stdout)
            for number, row in enumerate(csv.reader(answer.iter_lines())):
                if num and number > num:
                    return
                writer.writerow(row)
        return
    events = api.list("/audit-events", order="id", newest=num or None, **wanted)
    if as_json:
        show_json(events)
        return
    table(
        (
            (
                at(event["at"]),
                event["actor"] or "the platform",
                event["door"],
                event["action"],
                event["app"],
                _moved(event),
            )
            for event in events
        ),
        ("at (UTC)", "who", "door", "action", "app", "what"),
    )


def _moved(event: Record) -> str:
    before, after = event["before"], event["after"]
    text = " -> ".join(dumps(part) for part in ([before, after] if before and after else [after]) if part)
    detail = " ".join(f"{name}={value}" for name, value in (event["detail"] or {}).items())
    return f"{text} {detail}".strip()[:120]


COMMANDS = [audit]
