"""config, config:set, config:unset."""

from __future__ import annotations

import shlex

import click

from paas.apps.models import App
from paas.cli.common import acting_user, app_option, assignments, find_app, json_option, show_json
from paas.cli.releases import wait_for_release
from paas.config.services import change_config
from paas.releases.selectors import wished_release


@click.command("config")
@app_option
@json_option
def show(app_name: str, as_json: bool) -> None:
    """Show the config vars."""
    release = wished_release(find_app(app_name))
    config: dict[str, str] = dict(release.config) if release else {}
    if as_json:
        show_json(config)
        return
    for name, value in sorted(config.items()):
        click.echo(f"{name}={shlex.quote(value)}")
    if not config:
        click.echo(f"No config vars. Set one: paas config:set -a {app_name} NAME=value", err=True)


def _change(app: App, changes: dict[str, str | None], wait: bool) -> None:
    release = change_config(app, changes, by=acting_user())
    if release is None:
        click.echo("Nothing changes.", err=True)
    elif wait:
        wait_for_release(release)


@click.command("config:set")
@app_option
@click.option("--no-wait", is_flag=True, help="Don't wait until the release is live.")
@click.argument("pairs", nargs=-1, required=True, metavar="NAME=VALUE...")
def set_(app_name: str, no_wait: bool, pairs: tuple[str, ...]) -> None:
    """Set config vars: one new release."""
    changes: dict[str, str | None] = dict(assignments(pairs))
    _change(find_app(app_name), changes, not no_wait)


@click.command("config:unset")
@app_option
@click.option("--no-wait", is_flag=True, help="Don't wait until the release is live.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def unset(app_name: str, no_wait: bool, names: tuple[str, ...]) -> None:
    """Remove config vars: one new release."""
    _change(find_app(app_name), dict.fromkeys(names), not no_wait)


COMMANDS = [show, set_, unset]
