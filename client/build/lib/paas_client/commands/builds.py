"""builds, builds:output, builds:cancel."""

from __future__ import annotations

import time

import click

from paas_client.api import path
from paas_client.options import app_option, command, json_option
from paas_client.output import at, say, show, show_json, table
from paas_client.session import current

NEWEST = "~"
LOOK_SECONDS = 0.4


@command("builds")
@app_option
@click.option("-n", "--num", default=15, show_default=True, help="How many.")
@json_option
def list_builds(app_name: str, num: int, as_json: bool) -> None:
    """List the builds, newest first."""
    builds = current().api.list(path("apps", app_name, "build-details"), order="number", newest=num)
    if as_json:
        show_json(builds)
        return
    table(
        (
            (
                build["number"],
                build["status"],
                (build["commit"] or "")[:8],
                (build["commit_subject"] or "")[:50],
                f"v{build['release']}" if build["release"] else "",
                at(build["created_at"]),
            )
            for build in builds
        ),
        ("build", "state", "commit", "subject", "release", "at (UTC)"),
    )


@command("builds:output")
@app_option
@click.argument("number", default=NEWEST, metavar="[NUMBER]")
def output(app_name: str, number: str) -> None:
    """Print a build's log; of a running one, until it ends."""
    build = current().api.get(path("apps", app_name, "build-details", number))  # the newest may be another one soon
    follow(app_name, build["number"])


def follow(app_name: str, number: int) -> None:
    """Print what it says until it ends."""
    api, address = current().api, path("apps", app_name, "build-details", number, "output")
    cursor = None
    while True:
        part = api.get(address, after=cursor)
        for line in part["lines"]:
            show(line)
        if part["ended"]:
            return
        if not part["lines"]:
            time.sleep(LOOK_SECONDS)
        cursor = part["cursor"]


@command("builds:cancel")
@app_option
@click.argument("number", default=NEWEST, metavar="[NUMBER]")
def cancel(app_name: str, number: str) -> None:
    """Stop a build: the waiting or running one."""
    build = current().api.post(path("apps", app_name, "build-details", number, "cancel"))
    say(f"Cancelling build {build['number']} of {app_name}.")


COMMANDS = [list_builds, output, cancel]
