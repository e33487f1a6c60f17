"""releases and what is done with them, rollback."""

from __future__ import annotations

import json
import time
from datetime import datetime

import click

from paas.accounts.selectors import first_admin
from paas.apps.selectors import url
from paas.cli.common import app_option, find_app, json_option, show_json, table
from paas.cli.machine import host_command
from paas.core.redis import Waiter
from paas.releases import services
from paas.releases.models import Release, ReleaseStatus
from paas.releases.selectors import (
    PARTS,
    current_release,
    get_release,
    named_release,
    release_diff,
    rollback_preview,
    rollback_target,
    tags_of,
    wished_release,
)  # fmt: skip
from runtime.errors import NotFound, PlatformError, UserError

WAIT_SECONDS = 1200


def wait_for_release(release: Release) -> None:
    """Until it is live. Raises what it failed with."""
    click.echo(f"Releasing v{release.version} ({release.description})… ", nl=False, err=True)
    waiter = Waiter(f"release:{release.pk}")
    deadline = time.monotonic() + WAIT_SECONDS
    while not release.is_finished:
        if time.monotonic() > deadline:
            raise PlatformError(
                f"v{release.version} is still not released.", hint="Is the platform up? It goes on by itself: bin/up"
            )
        waiter.wait(1)
        release = Release.objects.select_related("app").get(pk=release.pk)
    if release.status != ReleaseStatus.SUCCEEDED:
        click.echo(release.status, err=True)
        raise UserError(release.reason, hint=release.hint, id=release.error_id or "release_failed")
    if release.app.stopped_at:
        click.echo(f"done; {release.app.name} is stopped", err=True)
    else:
        click.echo("done" + (f", live at {url(release.app)}" if release.image_id else ""), err=True)


@host_command("releases")
@app_option
@click.option("-n", "--num", default=15, show_default=True, help="How many.")
@json_option
def list_releases(app_name: str, num: int, as_json: bool) -> None:
    """List the releases, newest first."""
    app = find_app(app_name)
    releases = app.releases.select_related("created_by", "image", "copied_from")[:num]
    if as_json:
        show_json(
            [
                {
                    "id": release.id,
                    "version": release.version,
                    "status": release.status,
                    "current": release.pk == app.current_release_id,
                    "description": release.description,
                    "kind": release.kind,
                    "image": release.image.digest if release.image else None,
                    "commit": release.image.commit if release.image else None,
                    "config_names": sorted(release.config),
                    "process_types": release.process_types,
                    "copied_from": release.copied_from.version if release.copied_from else None,
                    "by": release.created_by.email if release.created_by else None,
                    "created_at": release.created_at,
                    "error_id": release.error_id or None,
                    "reason": release.reason or None,
                }
                for release in releases
            ]
        )
        return
    table(
        (
            (
                f"v{release.version}",
                "current" if release.pk == app.current_release_id else release.status,
                release.description[:60],
                release.created_by.email if release.created_by else "",
                release.created_at,
            )
            for release in releases
        ),
        ("release", "state", "what", "by", "at (UTC)"),
    )


@host_command("releases:info")
@app_option
@click.argument("version", required=False)
@json_option
def info(app_name: str, version: str | None, as_json: bool) -> None:
    """Show all that a release holds; config vars by name."""
    app = find_app(app_name)
    release = get_release(app, version) if version else current_release(app)
    if release is None:
        raise NotFound(f"{app.name} has no release yet.", id="release_not_found")
    image = release.image
    facts = {
        "version": release.version,
        "status": release.status,
        "current": release.pk == app.current_release_id,
        "pinned": release.pinned,
        "kind": release.kind,
        "description": release.description,
        "why": release.why or None,
        "by": release.created_by.email if release.created_by else None,
        "door": release.door or None,
        "created_at": release.created_at,
        "finished_at": release.finished_at,
        "copied_from": release.copied_from.version if release.copied_from else None,
        "error_id": release.error_id or None,
        "reason": release.reason or None,
        "image": image.digest if image else None,
        "image_size": image.size_bytes if image else None,
        "image_collected_at": image.collected_at if image else None,
        "commit": image.commit if image else None,
        "commit_subject": image.commit_subject if image else None,
        "tags": [tag.name for tag in tags_of(app).filter(image=image)],
        "process_types": release.process_types,
        "release_command": release.release_command or None,
        "config_names": sorted(release.config),
        "ports": release.ports,
        "limits": release.limits,
        "health_checks": release.health,
    }
    if as_json:
        show_json(facts)
        return
    for name, value in facts.items():
        if value not in (None, "", [], {}, False):
            click.echo(f"{name.replace('_', ' '):<20}{_in_a_line(value)}")


def _in_a_line(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, list | dict):
        return json.dumps(value)
    return "yes" if value is True else str(value)


@host_command("releases:diff")
@app_option
@click.argument("before")
@click.argument("after", required=False)
def diff(app_name: str, before: str, after: str | None) -> None:
    """Show what differs between two releases, by default the second is what is wished for now; values stay masked."""
    app = find_app(app_name)
    newer = get_release(app, after) if after else wished_release(app)
    assert newer is not None  # there is an older one
    for line in release_diff(app, get_release(app, before), newer).lines():
        click.echo(line)


@host_command("rollback")
@app_option
@click.option("--only", metavar="PART,…", help=f"Restore only some of: {', '.join(PARTS)}.")
@click.option("--why", default="", help="The reason, for the record.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--no-wait", is_flag=True, help="Don't wait until the release is live.")
@click.argument("target", required=False, metavar="[VERSION|TAG]")
def rollback(*, app_name: str, only: str | None, why: str, dry_run: bool, no_wait: bool, target: str | None) -> None:
    """Go back to a release, all of it or some: v7, a tag, or the one before the current."""
    app = find_app(app_name)
    release = named_release(app, target) if target else rollback_target(app)
    parts = [part.strip() for part in only.split(",") if part.strip()] if only is not None else PARTS
    if dry_run:
        preview = rollback_preview(app, release, by=first_admin(), only=parts)
        for line in preview.diff.lines():
            click.echo(line)
        if preview.refusal:
            raise preview.refusal
        return
    made = services.roll_back(app, release, by=first_admin(), only=parts, why=why)
    if not no_wait:
        wait_for_release(made)


@host_command("releases:pin")
@app_option
@click.argument("version")
def pin(app_name: str, version: str) -> None:
    """Keep the image of a release, however old it gets."""
    services.set_pinned(get_release(find_app(app_name), version), True, by=first_admin())


@host_command("releases:unpin")
@app_option
@click.argument("version")
def unpin(app_name: str, version: str) -> None:
    """Let the image of a release go when it gets old."""
    services.set_pinned(get_release(find_app(app_name), version), False, by=first_admin())


COMMANDS = [list_releases, info, diff, rollback, pin, unpin]
