"""apps, apps:branch, apps:create, apps:destroy, maintenance:on, maintenance:off."""

from __future__ import annotations

import time
from typing import TextIO

import click

from paas.accounts.selectors import first_admin
from paas.apps import services
from paas.apps.models import App
from paas.apps.selectors import apps_visible_to, git_url, url
from paas.cli.common import app_option, find_app, json_option, show_json, table
from paas.cli.machine import host_command
from runtime.errors import InvalidInput, PlatformError
from runtime.router.document import MAX_PAGE_BYTES


@host_command("apps")
@json_option
def list_apps(as_json: bool) -> None:
    """List the apps."""
    apps = apps_visible_to(first_admin()).select_related("current_release", "owner")
    if as_json:
        show_json(
            [
                {
                    "id": app.id,
                    "name": app.name,
                    "url": url(app),
                    "git_url": git_url(app.name),
                    "owner": app.owner.email,
                    "release": app.current_release.version if app.current_release else None,
                    "maintenance": app.maintenance,
                }
                for app in apps
            ]
        )
        return
    table(
        ((app.name, f"v{app.current_release.version}" if app.current_release else "–", url(app)) for app in apps),
        ("app", "release", "address"),
    )
    if not apps:
        click.echo(f"No apps yet. Push one: git push {git_url('my-app')} main", err=True)


@host_command("apps:create")
@click.argument("name")
def create(name: str) -> None:
    """Create an app before its first push."""
    app = services.create_app(name=name, by=first_admin())
    click.echo(f"Created {app.name}. Push to it: git push {git_url(app.name)} main", err=True)


@host_command("apps:destroy")
@click.argument("name")
@click.option("--confirm", default="", help="The app's name again.")
def destroy(name: str, confirm: str) -> None:
    """Remove an app with everything it has. There is no way back."""
    app = find_app(name)
    if not confirm:
        confirm = click.prompt(f"This destroys {name}, its releases and its code. Type its name to confirm", err=True)
    if confirm != name:
        raise InvalidInput(f"{confirm!r} is not {name!r}. Nothing was destroyed.")
    click.echo(f"Destroying {name}… ", nl=False, err=True)
    services.destroy_app(app, by=first_admin())
    deadline = time.monotonic() + 90
    while App.objects.filter(pk=app.pk).exists():
        if time.monotonic() > deadline:
            raise PlatformError(
                f"{name} is still being removed.", hint="It goes on in the background; is the platform up? bin/up"
            )
        time.sleep(0.1)
    click.echo("done", err=True)


@host_command("apps:branch")
@app_option
@click.argument("branch", required=False)
def deploy_branch(app_name: str, branch: str | None) -> None:
    """Choose the branch whose pushes are deployed; without one, show it."""
    app = find_app(app_name)
    if branch is None:
        click.echo(app.deploy_branch)
        return
    services.set_deploy_branch(app, branch, by=first_admin())
    click.echo(f"Pushes to {branch} are deployed now: git push paas {branch}", err=True)


def _maintenance(app_name: str, on: bool) -> None:
    services.set_maintenance(find_app(app_name), on, by=first_admin())
    click.echo(f"Maintenance mode of {app_name} is {'on' if on else 'off'}.", err=True)


@host_command("maintenance:on")
@app_option
@click.option("--page", type=click.File(encoding="utf-8"), help="An HTML file to show, kept for the next time.")
@click.option("--default-page", is_flag=True, help="Show the platform's page again.")
def maintenance_on(app_name: str, page: TextIO | None, default_page: bool) -> None:
    """Show visitors a maintenance page; instances go on running."""
    if page is not None or default_page:
        services.set_maintenance_page(find_app(app_name), _content(page) if page else "", by=first_admin())
    _maintenance(app_name, True)


def _content(page: TextIO) -> str:
    try:
        return page.read(MAX_PAGE_BYTES + 1)
    except UnicodeDecodeError as exc:
        raise InvalidInput("The maintenance page is not in UTF-8.", id="invalid_page") from exc


@host_command("maintenance:off")
@app_option
def maintenance_off(app_name: str) -> None:
    """Let visitors in again."""
    _maintenance(app_name, False)


COMMANDS = [list_apps, create, deploy_branch, destroy, maintenance_on, maintenance_off]
