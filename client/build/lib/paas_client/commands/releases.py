"""releases and what is done with them, rollback."""

from __future__ import annotations

import json

import click

from paas_client.api import path
from paas_client.errors import UserProblem
from paas_client.options import app_option, command, json_option, no_wait_option
from paas_client.output import at, say, show, show_json, table
from paas_client.session import current
from paas_client.waiting import wait_for_release

PARTS = ("code", "config", "ports", "limits", "health")


@command("releases")
@app_option
@click.option("-n", "--num", default=15, show_default=True, help="How many.")
@json_option
def list_releases(app_name: str, num: int, as_json: bool) -> None:
    """List the releases, newest first."""
    releases = current().api.list(path("apps", app_name, "release-details"), order="version", newest=num)
    if as_json:
        show_json(releases)
        return
    table(
        (
            (
                f"v{release['version']}",
                "current" if release["current"] else release["status"],
                release["description"][:60],
                release["by"],
                at(release["created_at"]),
            )
            for release in releases
        ),
        ("release", "state", "what", "by", "at (UTC)"),
    )


@command("releases:info")
@app_option
@click.argument("version", default="~current", metavar="[VERSION]")
@json_option
def info(app_name: str, version: str, as_json: bool) -> None:
    """Show all that a release holds; config vars by name."""
    facts = current().api.get(path("apps", app_name, "release-details", version))
    if as_json:
        show_json(facts)
        return
    for name, value in facts.items():
        if value not in (None, "", [], {}, False) and name != "id":
            show(f"{name.replace('_', ' '):<20}{_in_a_line(name, value)}")


def _in_a_line(name: str, value: object) -> str:
    if name.endswith("_at"):
        return f"{at(value)} UTC"
    if isinstance(value, list | dict):
        return json.dumps(value)
    return "yes" if value is True else str(value)


@command("releases:diff")
@app_option
@click.argument("before")
@click.argument("after", required=False)
def diff(app_name: str, before: str, after: str | None) -> None:
    """Show what differs between two releases, by default the second is what is wished for now; values stay masked."""
    other = (after,) if after else ()
    for line in current().api.get(path("apps", app_name, "releases", before, "diff", *other))["lines"]:
        show(line)


@command("rollback")
@app_option
@click.option("--only", metavar="PART,…", help=f"Restore only some of: {', '.join(PARTS)}.")
@click.option("--why", default="", help="The reason, for the record.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@no_wait_option
@click.argument("target", default="~previous", metavar="[VERSION|TAG]")
def rollback(*, app_name: str, only: str | None, why: str, dry_run: bool, no_wait: bool, target: str) -> None:
    """Go back to a release, all of it or some: v7, a tag, or the one before the current."""
    api = current().api
    version = api.get(path("apps", app_name, "release-details", target))["version"]
    address = path("apps", app_name, "releases", version, "rollback")
    if dry_run:
        preview = api.get(address, only=only)
        for line in preview["lines"]:
            show(line)
        if refusal := preview["refusal"]:
            raise UserProblem(refusal["message"], hint=refusal.get("hint") or "", id=refusal["id"])
        return
    parts = [part.strip() for part in only.split(",") if part.strip()] if only is not None else None
    wait_for_release(api, app_name, api.post(address, {"only": parts, "why": why}), no_wait=no_wait)


def _pin(app_name: str, version: str, on: bool) -> None:
    address = path("apps", app_name, "releases", version, "pin")
    if on:
        current().api.put(address, {})
    else:
        current().api.delete(address)
    say(f"The image of {version} is {'kept' if on else 'not kept for ever any more'}.")


@command("releases:pin")
@app_option
@click.argument("version")
def pin(app_name: str, version: str) -> None:
    """Keep the image of a release, however old it gets."""
    _pin(app_name, version, True)


@command("releases:unpin")
@app_option
@click.argument("version")
def unpin(app_name: str, version: str) -> None:
    """Let the image of a release go when it gets old."""
    _pin(app_name, version, False)


COMMANDS = [list_releases, info, diff, rollback, pin, unpin]
