"""tags, tags:add, tags:remove, tags:protect."""

from __future__ import annotations

import click

from paas_client.api import path
from paas_client.errors import UserProblem
from paas_client.options import app_option, command, json_option
from paas_client.output import say, show_json, table
from paas_client.session import current


@command("tags")
@app_option
@json_option
def list_tags(app_name: str, as_json: bool) -> None:
    """List the tags: those of the platform, and people's own."""
    found = current().api.list(path("apps", app_name, "tags"))
    if as_json:
        show_json(found)
        return
    table(
        (
            (
                tag["name"],
                tag["image"][:19],
                (tag["commit"] or "")[:8],
                "protected" if tag["protected"] else "",
                (tag["commit_subject"] or "")[:60],
            )
            for tag in found
        ),
        ("tag", "image", "commit", "", "what"),
    )


@command("tags:add")
@app_option
@click.argument("name")
@click.argument("target", default="latest", metavar="[VERSION|TAG]")
def add(app_name: str, name: str, target: str) -> None:
    """Give an image a name, or move the name to it: the image of v7, of a tag, or the current one."""
    api, address = current().api, path("apps", app_name, "tags", name)
    try:
        before = api.get(address)["image"]
    except UserProblem as exc:
        if exc.id != "tag_not_found":
            raise
        before = None
    image = api.put(address, {"target": target})["image"]
    say(f"{name} points to {image[:19]}." if image != before else "Nothing changes.")


@command("tags:remove")
@app_option
@click.argument("name")
def remove(app_name: str, name: str) -> None:
    """Remove a tag of your own; the image stays."""
    current().api.delete(path("apps", app_name, "tags", name))


@command("tags:protect")
@app_option
@click.option("--off", is_flag=True, help="Take the protection off.")
@click.argument("name")
def protect(app_name: str, off: bool, name: str) -> None:
    """Keep a tag from being moved or removed."""
    api, address = current().api, path("apps", app_name, "tags", name)
    api.get(address)  # or it would be made
    api.put(address, {"protected": not off})


COMMANDS = [list_tags, add, remove, protect]
