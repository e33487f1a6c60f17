"""tags, tags:add, tags:remove, tags:protect, deploy."""

from __future__ import annotations

import click

from paas.accounts.selectors import first_admin
from paas.cli.common import app_option, find_app, json_option, show_json, table
from paas.cli.machine import host_command
from paas.cli.releases import wait_for_release
from paas.releases import tags
from paas.releases.selectors import named_image, tags_of
from paas.releases.services import deploy_tag
from runtime.git.text import short_commit


@host_command("tags")
@app_option
@json_option
def list_tags(app_name: str, as_json: bool) -> None:
    """List the tags: those of the platform, and people's own."""
    found = tags_of(find_app(app_name))
    if as_json:
        show_json(
            [
                {
                    "name": tag.name,
                    "image": tag.image.digest,
                    "commit": tag.image.commit or None,
                    "own": not tags.is_ours(tag.name),
                    "protected": tag.protected,
                    "in_registry": tag.is_published,
                    "updated_at": tag.updated_at,
                }
                for tag in found
            ]
        )
        return
    table(
        (
            (
                tag.name,
                tag.image.digest[:19],
                short_commit(tag.image.commit),
                "protected" if tag.protected else "",
                tag.image.commit_subject[:60],
            )
            for tag in found
        ),
        ("tag", "image", "commit", "", "what"),
    )


@host_command("tags:add")
@app_option
@click.argument("name")
@click.argument("target", default="latest", metavar="[VERSION|TAG]")
def add(app_name: str, name: str, target: str) -> None:
    """Give an image a name, or move the name to it: the image of v7, of a tag, or the current one."""
    app = find_app(app_name)
    image = named_image(app, target)
    moved = tags.add_tag(app, name, image, by=first_admin())
    click.echo(f"{name} points to {image.digest[:19]}." if moved else "Nothing changes.", err=True)


@host_command("tags:remove")
@app_option
@click.argument("name")
def remove(app_name: str, name: str) -> None:
    """Remove a tag of your own; the image stays."""
    tags.remove_tag(find_app(app_name), name, by=first_admin())


@host_command("tags:protect")
@app_option
@click.option("--off", is_flag=True, help="Take the protection off.")
@click.argument("name")
def protect(app_name: str, off: bool, name: str) -> None:
    """Keep a tag from being moved or removed."""
    tags.protect_tag(find_app(app_name), name, not off, by=first_admin())


@host_command("deploy")
@app_option
@click.option("--tag", required=True, help="Which image.")
@click.option("--why", default="", help="The reason, for the record.")
@click.option("--no-wait", is_flag=True, help="Don't wait until the release is live.")
def deploy(app_name: str, tag: str, why: str, no_wait: bool) -> None:
    """Release the image of a tag with the app's present settings."""
    release = deploy_tag(find_app(app_name), tag, by=first_admin(), why=why)
    if not no_wait:
        wait_for_release(release)


COMMANDS = [list_tags, add, remove, protect, deploy]
