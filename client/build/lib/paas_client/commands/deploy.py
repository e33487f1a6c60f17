"""deploy: an image that is there already, or a folder."""

from __future__ import annotations

from pathlib import Path

import click

from paas_client.api import path
from paas_client.archive import make_archive
from paas_client.commands.builds import follow
from paas_client.errors import UserProblem
from paas_client.options import app_option, command, no_wait_option
from paas_client.output import progress, say
from paas_client.session import current
from paas_client.waiting import looks, wait_for_release

BEGIN_SECONDS = 60


@command("deploy")
@app_option
@click.option("--tag", help="Release the image of this tag, with the app's present settings.")
@click.option("--why", default="", help="The reason, for the record.")
@click.option("--version", "version", help="What to call the source of a folder; for the record.")
@no_wait_option
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
def deploy(*, app_name: str, tag: str | None, why: str, version: str | None, no_wait: bool, folder: Path | None) -> None:
    """Release the image of a tag, or build and release a folder: without git, as it is on your disk."""
    if (tag is None) == (folder is None):
        raise click.UsageError("Give --tag, or a folder: paas deploy .")
    api = current().api
    if tag is not None:
        wait_for_release(
            api, app_name, api.post(path("apps", app_name, "tags", tag, "deploy"), {"why": why}), no_wait=no_wait
        )
        return
    assert folder is not None
    with progress(f"Packing {folder}") as ending:
        archive = make_archive(folder)
        ending.text = f"done, {len(archive) / 1e6:.1f} MB"
    with progress("Uploading"):
        source = api.post("/sources")["source_blob"]
        api.upload(source["put_url"], archive)
    build = api.post(
        path("apps", app_name, "builds"),
        {"source_blob": {"url": source["get_url"], "version": version or folder.resolve().name}},
    )
    number = _number(app_name, build["id"])
    if no_wait:
        say(f"Build {number} goes on: paas builds:output {number} -a {app_name}")
        return
    follow(app_name, number)
    ended = api.get(path("apps", app_name, "build-details", number))
    if ended["status"] != "succeeded":
        raise UserProblem(
            ended["reason"] or f"Build {number} {ended['status']}.", hint=ended["hint"] or "", id=ended["error_id"] or ""
        )


def _number(app_name: str, build_id: str) -> int:
    """By which people know it."""
    for _ in looks(BEGIN_SECONDS):
        for build in current().api.list(path("apps", app_name, "build-details"), order="number", newest=20):
            if build["id"] == build_id:
                return int(build["number"])
    raise UserProblem("The build did not begin.", hint=f"See: paas builds -a {app_name}")


COMMANDS = [deploy]
