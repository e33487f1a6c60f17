"""pipelines and what is done with them."""

from __future__ import annotations

import click

from paas_client.api import Api, Record, path
from paas_client.errors import PlatformProblem, UserProblem
from paas_client.options import app_option, command, complete_apps, json_option, no_wait_option
from paas_client.output import at, say, show, show_json, table
from paas_client.session import current
from paas_client.waiting import RELEASE_SECONDS, looks

STAGES = ("review", "development", "staging", "production")
stage_option = click.option("-s", "--stage", type=click.Choice(STAGES), required=True, help="Which stage.")


@command("pipelines")
@json_option
def list_pipelines(as_json: bool) -> None:
    """List the pipelines."""
    rows = current().api.list("/pipeline-details")
    if as_json:
        show_json(rows)
        return
    table(((row["name"], ", ".join(row["apps"]), row["owner"]) for row in rows), ("pipeline", "apps", "owner"))
    if not rows:
        say("No pipelines yet. Make one: paas pipelines:create NAME")


@command("pipelines:create")
@click.argument("name")
@click.option("-a", "--app", "app_name", help="Put this app into it.", shell_complete=complete_apps)
@click.option("-s", "--stage", type=click.Choice(STAGES), default="production", show_default=True)
def create(name: str, app_name: str | None, stage: str) -> None:
    """Make a pipeline."""
    api = current().api
    if app_name:
        api.get(path("apps", app_name))  # before anything is made
    pipeline = api.post("/pipelines", {"name": name})
    say(f"Created {name}.")
    if app_name:
        _couple(api, pipeline["id"], app_name, stage)
        say(f"{app_name} is in {stage}.")


def _couple(api: Api, pipeline: str, app_name: str, stage: str) -> None:
    api.post("/pipeline-couplings", {"pipeline": pipeline, "app": app_name, "stage": stage})


@command("pipelines:add")
@app_option
@stage_option
@click.argument("name")
def add(app_name: str, stage: str, name: str) -> None:
    """Put an app into a stage of a pipeline."""
    _couple(current().api, name, app_name, stage)
    say(f"{app_name} is in {stage} of {name}.")


@command("pipelines:update")
@app_option
@stage_option
def update(app_name: str, stage: str) -> None:
    """Move an app to another stage of its pipeline."""
    api = current().api
    api.patch(path("pipeline-couplings", _coupling(api, app_name)["id"]), {"stage": stage})
    say(f"{app_name} is in {stage}.")


def _coupling(api: Api, app_name: str) -> Record:
    found: Record = api.get(path("apps", app_name, "pipeline-couplings"))
    return found


@command("pipelines:remove")
@app_option
def remove(app_name: str) -> None:
    """Take an app out of its pipeline; the app itself stays."""
    api = current().api
    coupling = _coupling(api, app_name)
    api.delete(path("pipeline-couplings", coupling["id"]))
    say(f"{app_name} is no longer in {coupling['pipeline']['name']}.")


@command("pipelines:info")
@click.argument("name")
@json_option
def info(name: str, as_json: bool) -> None:
    """Show what runs in each stage, and since when."""
    places = [
        {"stage": column["stage"], "app": place["name"], **place}
        for column in current().api.list(path("pipelines", name, "stages"))
        for place in column["apps"]
    ]
    if as_json:
        names = ("stage", "app", "release", "commit", "image", "since")
        show_json([{name: place[name] for name in names} for place in places])
        return
    table(
        (
            (
                place["stage"],
                place["app"],
                f"v{place['release']}" if place["release"] else "–",
                (place["commit"] or "")[:8],
                (place["commit_subject"] or "")[:50],
                at(place["since"]),
            )
            for place in places
        ),
        ("stage", "app", "release", "commit", "subject", "since (UTC)"),
    )


@command("pipelines:promote")
@app_option
@click.option("-t", "--to", default="", metavar="APP,…", help="Into these apps; those of the next stage otherwise.")
@click.option("--why", default="", help="The reason, for the record.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@no_wait_option
def promote(app_name: str, to: str, why: str, dry_run: bool, no_wait: bool) -> None:
    """Release the image that runs in an app in other apps of its pipeline, each with its own config."""
    api = current().api
    pipeline = _coupling(api, app_name)["pipeline"]
    targets = [name.strip() for name in to.split(",") if name.strip()] or _next_apps(api, pipeline, app_name)
    if dry_run:
        for target in targets:
            show(f"{target}:")
            for line in api.get(path("apps", app_name, "promotion"), to=target)["lines"]:
                show(f"  {line}")
        return
    ids = {name: api.get(path("apps", name))["id"] for name in [app_name, *targets]}
    promotion = api.post(
        "/pipeline-promotions",
        {
            "pipeline": {"id": pipeline["id"]},
            "source": {"app": {"id": ids[app_name]}},
            "targets": [{"app": {"id": ids[name]}} for name in targets],
            "why": why,
        },
    )
    say(f"Promoting {app_name} to {', '.join(targets)}")
    if not no_wait:
        _wait(api, promotion["id"], {ids[name]: name for name in targets})


def _next_apps(api: Api, pipeline: Record, app_name: str) -> list[str]:
    """Those of the stage after the app's own. Raises `UserProblem` where there are none."""
    columns = api.list(path("pipelines", pipeline["id"], "stages"))
    own = next(n for n, column in enumerate(columns) if app_name in {place["name"] for place in column["apps"]})
    found = [place["name"] for column in columns[own + 1 : own + 2] for place in column["apps"]]
    if not found:
        after = columns[own + 1]["stage"] if own + 1 < len(columns) else ""
        why = f"{pipeline['name']} has no app in {after}" if after else f"there is no stage after {columns[own]['stage']}"
        raise UserProblem(
            f"{app_name} is in {columns[own]['stage']}, and {why}.",
            hint=f"Name the apps to promote to: paas pipelines:promote -a {app_name} --to APP",
            id="no_target",
        )
    return found


def _wait(api: Api, promotion: str, names: dict[str, str]) -> None:
    """Until it is settled everywhere; each app is told as it is. Raises when it failed in one."""
    told: dict[str, Record] = {}
    for _ in looks(RELEASE_SECONDS):
        for target in api.list(path("pipeline-promotions", promotion, "promotion-targets")):
            name = names[target["app"]["id"]]
            if target["status"] != "pending" and name not in told:
                told[name] = target
                say(f"  {name}… {target['status']}")
        if len(told) == len(names):
            break
    else:
        raise PlatformProblem("The promotion is still not done.", hint="It goes on by itself. Is the platform well?")
    for name, target in told.items():
        if target["status"] == "failed":
            raise UserProblem(f"{name}: {target['error_message'] or 'it failed'}", id="promotion_failed")


@command("pipelines:rename")
@click.argument("name")
@click.argument("new")
def rename(name: str, new: str) -> None:
    """Give a pipeline another name."""
    current().api.patch(path("pipelines", name), {"name": new})
    say(f"{name} is called {new} now.")


@command("pipelines:destroy")
@click.argument("name")
@click.option("--confirm", default="", help="The pipeline's name again.")
def destroy(name: str, confirm: str) -> None:
    """Forget a pipeline; its apps stay as they are."""
    api = current().api
    api.get(path("pipelines", name))
    confirm = confirm or click.prompt(f"Type {name} to confirm", err=True)
    if confirm != name:
        raise UserProblem(f"{confirm!r} is not {name!r}. Nothing was destroyed.")
    api.delete(path("pipelines", name))
    say(f"{name} is gone.")


COMMANDS = [list_pipelines, create, add, update, remove, info, promote, rename, destroy]
