"""builds, builds:output, builds:cancel."""

from __future__ import annotations

import click

from paas.accounts.selectors import first_admin
from paas.builds.selectors import build_output, get_build
from paas.builds.services import cancel_build
from paas.cli.common import app_option, find_app, json_option, show_json, table
from paas.cli.machine import host_command
from runtime.git.text import short_commit


@host_command("builds")
@app_option
@click.option("-n", "--num", default=15, show_default=True, help="How many.")
@json_option
def list_builds(app_name: str, num: int, as_json: bool) -> None:
    """List the builds, newest first."""
    builds = find_app(app_name).builds.select_related("release", "image")[:num]
    if as_json:
        show_json(
            [
                {
                    "id": build.id,
                    "number": build.number,
                    "status": build.status,
                    "commit": build.new,
                    "image": build.image.digest if build.image else None,
                    "release": build.release.version if build.release else None,
                    "error_id": build.error_id or None,
                    "reason": build.reason or None,
                    "hint": build.hint or None,
                    "seconds": build.seconds,
                    "created_at": build.created_at,
                    "finished_at": build.finished_at,
                }
                for build in builds
            ]
        )
        return
    table(
        (
            (
                build.number,
                build.status,
                short_commit(build.new),
                build.commit_subject[:50],
                f"v{build.release.version}" if build.release else "",
                build.created_at,
            )
            for build in builds
        ),
        ("build", "state", "commit", "subject", "release", "at (UTC)"),
    )


@host_command("builds:output")
@app_option
@click.argument("number", required=False)
def output(app_name: str, number: str | None) -> None:
    """Print a build's log; of a running one, until it ends."""
    for line in build_output(get_build(find_app(app_name), number)):
        click.echo(line)


@host_command("builds:cancel")
@app_option
@click.argument("number", required=False)
def cancel(app_name: str, number: str | None) -> None:
    """Stop a build: the waiting or running one."""
    build = get_build(find_app(app_name), number)
    cancel_build(build, by=first_admin())
    click.echo(f"Cancelling build {build.number} of {app_name}.", err=True)


COMMANDS = [list_builds, output, cancel]
