"""apps:branch, maintenance:on, maintenance:off."""

from __future__ import annotations

from typing import TextIO

import click

from paas.accounts.selectors import first_admin
from paas.apps import services
from paas.cli.common import app_option, find_app
from paas.cli.machine import host_command
from runtime.errors import InvalidInput
from runtime.router.document import MAX_PAGE_BYTES


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


COMMANDS = [deploy_branch, maintenance_on, maintenance_off]
