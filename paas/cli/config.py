"""config, config:get, config:set, config:unset, config:edit, config:import, config:export."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click

from paas.accounts.selectors import first_admin
from paas.apps.models import App
from paas.cli.common import app_option, assignments, find_app, json_option, show_json
from paas.cli.machine import host_command
from paas.cli.releases import wait_for_release
from paas.config.envfile import EnvText, InvalidEnvText, format_env, parse_env
from paas.config.selectors import Difference, changed_config, difference, present_config
from paas.config.services import change_config, reveal_config
from runtime.errors import Conflict, InvalidInput

no_wait_option = click.option("--no-wait", is_flag=True, help="Don't wait until the release is live.")
yes_option = click.option("-y", "--yes", is_flag=True, help="Don't ask before the change is made.")
IN_MEMORY = Path("/dev/shm")  # noqa: S108  # a folder of our own in it, which only we can open


@host_command("config")
@app_option
@json_option
def show(app_name: str, as_json: bool) -> None:
    """Show the config vars."""
    config = reveal_config(find_app(app_name), by=first_admin()).values
    if as_json:
        show_json(config)
        return
    for name, value in config.items():
        click.echo(f"{name}={shlex.quote(value)}")
    if not config:
        click.echo(f"No config vars. Set one: paas config:set -a {app_name} NAME=value", err=True)


@host_command("config:get")
@app_option
@click.argument("name")
def get(app_name: str, name: str) -> None:
    """Print the value of one config var, as it is."""
    click.echo(reveal_config(find_app(app_name), {name}, by=first_admin()).values[name])


@host_command("config:export")
@app_option
def export(app_name: str) -> None:
    """Print the config vars as .env text, which config:import reads."""
    click.echo(format_env(reveal_config(find_app(app_name), by=first_admin(), action="export").values), nl=False)


def _change(
    app: App,
    changes: Mapping[str, str | None],
    wait: bool,
    *,
    replace: bool = False,
    seen_version: int | None = None,
) -> None:
    release = change_config(app, changes, by=first_admin(), replace=replace, seen_version=seen_version)
    if release is None:
        click.echo("Nothing changes.", err=True)
    elif wait:
        wait_for_release(release)


@host_command("config:set")
@app_option
@no_wait_option
@click.argument("pairs", nargs=-1, required=True, metavar="NAME=VALUE...")
def set_(app_name: str, no_wait: bool, pairs: tuple[str, ...]) -> None:
    """Set config vars: one new release. What others must not see in the list of processes: config:import."""
    changes: dict[str, str | None] = dict(assignments(pairs))
    _change(find_app(app_name), changes, not no_wait)


@host_command("config:unset")
@app_option
@no_wait_option
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def unset(app_name: str, no_wait: bool, names: tuple[str, ...]) -> None:
    """Remove config vars: one new release."""
    _change(find_app(app_name), dict.fromkeys(names), not no_wait)


@host_command("config:import")
@app_option
@no_wait_option
@yes_option
@click.option("--replace", is_flag=True, help="Also remove what the text does not have.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True), default="-")
def import_(app_name: str, no_wait: bool, yes: bool, replace: bool, file: str) -> None:
    """Set config vars from .env text, of a file or of stdin: one new release."""
    app = find_app(app_name)
    given = _parsed(sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes())
    present = present_config(app)
    after = changed_config(present.values, given.values, replace=replace)
    change = difference(present.values, after)
    _say(given, change)
    if change and not yes and file != "-" and sys.stdin.isatty():
        click.confirm("Apply it?", abort=True, err=True)
    _change(app, given.values, not no_wait, replace=replace, seen_version=present.version)


def _parsed(data: bytes) -> EnvText:
    try:
        return parse_env(data.decode())
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise InvalidEnvText(f"Line {line}: this is not UTF-8 text.", hint="Nothing was changed.") from None


def _say(given: EnvText, change: Difference) -> None:
    for note in given.notes:
        click.echo(f"Note: {note}", err=True)
    for sign, names in (("+", change.added), ("~", change.changed), ("-", change.removed)):
        for name in names:
            click.echo(f"  {sign} {name}", err=True)
    if change and change.unchanged:
        click.echo(f"    {len(change.unchanged)} unchanged", err=True)


@host_command("config:edit")
@app_option
@no_wait_option
@yes_option
def edit(app_name: str, no_wait: bool, yes: bool) -> None:
    """Edit all config vars as .env text in your editor ($VISUAL, $EDITOR): one new release."""
    app = find_app(app_name)
    config = reveal_config(app, by=first_admin())
    heading = (
        f"# The config of {app.name}, v{config.version}. A line that you remove removes the config var.\n"
        "# Values are literal, nothing is interpolated; put those with blanks or several lines in quotes.\n"
    )
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as folder:
        file = Path(folder) / f"{app.name}.env"
        file.touch(mode=0o600)
        file.write_text(heading + format_env(config.values), newline="")
        while True:
            click.edit(filename=str(file))
            try:
                given = _parsed(file.read_bytes())
                change = difference(config.values, changed_config({}, given.values))
                _say(given, change)
                if change and not yes:
                    click.confirm("Apply it?", abort=True, err=True)
                _change(app, given.values, not no_wait, replace=True, seen_version=config.version)
            except (InvalidInput, Conflict) as exc:
                if not sys.stdin.isatty():
                    raise
                click.echo(f"{exc.message}\n{exc.hint}", err=True)
                click.confirm("Edit it again?", default=True, abort=True, err=True)
                if isinstance(exc, Conflict):  # they know now, and see what would change against that
                    config = present_config(app)
            else:
                return


COMMANDS = [show, get, set_, unset, edit, import_, export]
