"""releases, rollback."""

from __future__ import annotations

import time

import click

from paas.apps.selectors import url
from paas.cli.common import acting_user, app_option, find_app, json_option, show_json, table
from paas.core.redis import Waiter
from paas.releases import services
from paas.releases.models import Release, ReleaseStatus
from paas.releases.selectors import get_release, rollback_target
from runtime.errors import PlatformError, UserError

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
    click.echo("done" + (f", live at {url(release.app)}" if release.image_id else ""), err=True)


@click.command("releases")
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


@click.command("rollback")
@app_option
@click.option("--no-wait", is_flag=True, help="Don't wait until the release is live.")
@click.argument("version", required=False)
def rollback(app_name: str, no_wait: bool, version: str | None) -> None:
    """Go back to a release, image and config: v7, or the one before the current."""
    app = find_app(app_name)
    target = get_release(app, version) if version else rollback_target(app)
    release = services.roll_back(app, target, by=acting_user())
    if not no_wait:
        wait_for_release(release)


COMMANDS = [list_releases, rollback]
