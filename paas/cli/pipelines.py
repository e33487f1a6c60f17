"""pipelines and what is done with them."""

from __future__ import annotations

import time

import click

from paas.accounts.selectors import first_admin
from paas.apps.models import App
from paas.cli.common import app_option, find_app, json_option, show_json, table
from paas.cli.machine import host_command
from paas.pipelines import services
from paas.pipelines.models import Promotion, Stage
from paas.pipelines.selectors import (
    Result,
    coupling_of,
    default_targets,
    get_pipeline,
    pipelines_visible_to,
    promotable_release,
    promotion_preview,
    results,
    stages,
)
from runtime.errors import InvalidInput, PlatformError, UserError

WAIT_SECONDS = 1200
stage_option = click.option("-s", "--stage", type=click.Choice(Stage.values), required=True, help="Which stage.")


@host_command("pipelines")
@json_option
def list_pipelines(as_json: bool) -> None:
    """List the pipelines."""
    user = first_admin()
    rows = [
        (each, [p.app.name for column in stages(each, user) for p in column.places])
        for each in pipelines_visible_to(user)
    ]
    if as_json:
        show_json([{"id": each.id, "name": each.name, "owner": each.owner.email, "apps": apps} for each, apps in rows])
        return
    table(((each.name, ", ".join(apps), each.owner.email) for each, apps in rows), ("pipeline", "apps", "owner"))
    if not rows:
        click.echo("No pipelines yet. Make one: paas pipelines:create NAME", err=True)


@host_command("pipelines:create")
@click.argument("name")
@click.option("-a", "--app", "app_name", help="Put this app into it.")
@click.option("-s", "--stage", type=click.Choice(Stage.values), default="production", show_default=True)
def create(name: str, app_name: str | None, stage: str) -> None:
    """Make a pipeline."""
    app = find_app(app_name) if app_name else None
    pipeline = services.create_pipeline(name, by=first_admin())
    click.echo(f"Created {name}.", err=True)
    if app:
        services.couple_app(pipeline, app, stage, by=first_admin())
        click.echo(f"{app.name} is in {stage}.", err=True)


@host_command("pipelines:add")
@app_option
@stage_option
@click.argument("name")
def add(app_name: str, stage: str, name: str) -> None:
    """Put an app into a stage of a pipeline."""
    user = first_admin()
    services.couple_app(get_pipeline(user, name), find_app(app_name), stage, by=user)
    click.echo(f"{app_name} is in {stage} of {name}.", err=True)


@host_command("pipelines:update")
@app_option
@stage_option
def update(app_name: str, stage: str) -> None:
    """Move an app to another stage of its pipeline."""
    services.move_app(coupling_of(first_admin(), find_app(app_name)), stage, by=first_admin())
    click.echo(f"{app_name} is in {stage}.", err=True)


@host_command("pipelines:remove")
@app_option
def remove(app_name: str) -> None:
    """Take an app out of its pipeline; the app itself stays."""
    coupling = coupling_of(first_admin(), find_app(app_name))
    services.uncouple_app(coupling, by=first_admin())
    click.echo(f"{app_name} is no longer in {coupling.pipeline.name}.", err=True)


@host_command("pipelines:info")
@click.argument("name")
@json_option
def info(name: str, as_json: bool) -> None:
    """Show what runs in each stage, and since when."""
    user = first_admin()
    columns = stages(get_pipeline(user, name), user)
    if as_json:
        show_json(
            [
                {
                    "stage": column.stage.value,
                    "app": place.app.name,
                    "release": place.release.version if place.release else None,
                    "commit": place.image.commit if place.image else None,
                    "image": place.image.digest if place.image else None,
                    "since": place.since,
                }
                for column in columns
                for place in column.places
            ]
        )
        return
    table(
        (
            (
                column.stage.value,
                place.app.name,
                f"v{place.release.version}" if place.release else "–",
                place.image.commit[:8] if place.image else "",
                place.image.commit_subject[:50] if place.image else "",
                place.since,
            )
            for column in columns
            for place in column.places
        ),
        ("stage", "app", "release", "commit", "subject", "since (UTC)"),
    )


@host_command("pipelines:promote")
@app_option
@click.option("-t", "--to", default="", metavar="APP,…", help="Into these apps; those of the next stage otherwise.")
@click.option("--why", default="", help="The reason, for the record.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--no-wait", is_flag=True, help="Don't wait until the releases are live.")
def promote(app_name: str, to: str, why: str, dry_run: bool, no_wait: bool) -> None:
    """Release the image that runs in an app in other apps of its pipeline, each with its own config."""
    source, user = find_app(app_name), first_admin()
    coupling = coupling_of(user, source)
    names = [name.strip() for name in to.split(",") if name.strip()]
    targets = [find_app(name) for name in names] if names else default_targets(coupling, user)
    if dry_run:
        _show_preview(source, targets)
        return
    promotion = services.promote(coupling.pipeline, source, targets, by=user, why=why)
    click.echo(
        f"Promoting {source.name} v{promotion.release.version} to {', '.join(app.name for app in targets)}", err=True
    )
    if not no_wait:
        _wait(promotion)


def _show_preview(source: App, targets: list[App]) -> None:
    release = promotable_release(source)
    for app in targets:
        click.echo(f"{app.name}:")
        for line in promotion_preview(source, app, release).diff.lines():
            click.echo(f"  {line}")


def _wait(promotion: Promotion) -> None:
    """Until it is settled everywhere; each app is told as it is. Raises when it failed in one."""
    told: dict[str, Result] = {}
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        found = results(promotion, first_admin())
        for result in found:
            if result.status != "pending" and result.app.name not in told:
                told[result.app.name] = result
                words = f" v{result.release.version}" if result.release else ""
                click.echo(f"  {result.app.name}{words}… {result.status}", err=True)
        if len(told) == len(found):
            break
        if time.monotonic() > deadline:
            raise PlatformError(
                "The promotion is still not done.", hint="Is the platform up? It goes on by itself: bin/up"
            )
        time.sleep(0.3)
    failed = [result for result in told.values() if result.status == "failed"]
    if failed:
        first = failed[0]
        raise UserError(f"{first.app.name}: {first.reason}", hint=first.hint, id=first.error_id)


@host_command("pipelines:rename")
@click.argument("name")
@click.argument("new")
def rename(name: str, new: str) -> None:
    """Give a pipeline another name."""
    services.rename_pipeline(get_pipeline(first_admin(), name), new, by=first_admin())
    click.echo(f"{name} is called {new} now.", err=True)


@host_command("pipelines:destroy")
@click.argument("name")
@click.option("--confirm", default="", help="The pipeline's name again.")
def destroy(name: str, confirm: str) -> None:
    """Forget a pipeline; its apps stay as they are."""
    pipeline = get_pipeline(first_admin(), name)
    confirm = confirm or click.prompt(f"Type {name} to confirm", err=True)
    if confirm != name:
        raise InvalidInput(f"{confirm!r} is not {name!r}. Nothing was destroyed.")
    services.destroy_pipeline(pipeline, by=first_admin())
    click.echo(f"{name} is gone.", err=True)


COMMANDS = [list_pipelines, create, add, update, remove, info, promote, rename, destroy]
