"""config, config:get, config:set, config:unset, config:edit, config:import, config:export."""

from __future__ import annotations

import shlex
import sys
import tempfile
from pathlib import Path

import click

from paas_client.api import Record, path
from paas_client.errors import UserProblem
from paas_client.options import app_option, command, json_option, no_wait_option
from paas_client.output import assignments, say, show, show_json
from paas_client.session import current
from paas_client.waiting import wait_for_release

yes_option = click.option("-y", "--yes", is_flag=True, help="Don't ask before the change is made.")
IN_MEMORY = Path("/dev/shm")  # noqa: S108  # a folder of our own in it, which only we can open


@command("config")
@app_option
@json_option
def show_(app_name: str, as_json: bool) -> None:
    """Show the config vars."""
    config = current().api.get(path("apps", app_name, "config-vars"))
    if as_json:
        show_json(config)
        return
    for name, value in config.items():
        show(f"{name}={shlex.quote(value)}")
    if not config:
        say(f"No config vars. Set one: paas config:set -a {app_name} NAME=value")


@command("config:get")
@app_option
@click.argument("name")
def get(app_name: str, name: str) -> None:
    """Print the value of one config var, as it is."""
    show(current().api.get(path("apps", app_name, "config-values", name))["value"])


@command("config:export")
@app_option
def export(app_name: str) -> None:
    """Print the config vars as .env text, which config:import reads."""
    click.echo(current().api.get(path("apps", app_name, "config-text"))["text"], nl=False)


def _change(app_name: str, changes: dict[str, str | None], no_wait: bool) -> None:
    api = current().api
    answer = api.patch(path("apps", app_name, "config-values"), changes)
    wait_for_release(api, app_name, answer["release"], no_wait=no_wait)


@command("config:set")
@app_option
@no_wait_option
@click.argument("pairs", nargs=-1, required=True, metavar="NAME=VALUE...")
def set_(app_name: str, no_wait: bool, pairs: tuple[str, ...]) -> None:
    """Set config vars: one new release. What others must not see in the list of processes: config:import."""
    _change(app_name, dict(assignments(pairs)), no_wait)


@command("config:unset")
@app_option
@no_wait_option
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def unset(app_name: str, no_wait: bool, names: tuple[str, ...]) -> None:
    """Remove config vars: one new release."""
    _change(app_name, dict.fromkeys(names), no_wait)


@command("config:import")
@app_option
@no_wait_option
@yes_option
@click.option("--replace", is_flag=True, help="Also remove what the text does not have.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True), default="-")
def import_(app_name: str, no_wait: bool, yes: bool, replace: bool, file: str) -> None:
    """Set config vars from .env text, of a file or of stdin: one new release."""
    text = _decoded(sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes())
    preview = _previewed(app_name, text, replace=replace)
    if _changes(preview) and not yes and file != "-" and sys.stdin.isatty():
        click.confirm("Apply it?", abort=True, err=True)
    _apply(app_name, text, no_wait, replace=replace, seen=preview["version"])


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        problem = f"Line {line}: this is not UTF-8 text."
        raise UserProblem(problem, hint="Nothing was changed.", id="invalid_env_text") from None


def _previewed(app_name: str, text: str, *, replace: bool) -> Record:
    """What an import would do, after it was told."""
    preview: Record = (
        current()
        .api.send("POST", path("apps", app_name, "config-text", "preview"), body={"text": text, "replace": replace})
        .json()
    )
    for note in preview["notes"]:
        say(f"Note: {note}")
    for sign, names in (("+", preview["added"]), ("~", preview["changed"]), ("-", preview["removed"])):
        for name in names:
            say(f"  {sign} {name}")
    if _changes(preview) and preview["unchanged"]:
        say(f"    {len(preview['unchanged'])} unchanged")
    return preview


def _changes(preview: Record) -> bool:
    return bool(preview["added"] or preview["changed"] or preview["removed"])


def _apply(app_name: str, text: str, no_wait: bool, *, replace: bool, seen: int) -> None:
    api = current().api
    body = {"text": text, "replace": replace, "seen": seen}
    answer = api.send("PUT", path("apps", app_name, "config-text"), body=body, once=True).json()
    wait_for_release(api, app_name, answer["release"], no_wait=no_wait)


@command("config:edit")
@app_option
@no_wait_option
@yes_option
def edit(app_name: str, no_wait: bool, yes: bool) -> None:
    """Edit all config vars as .env text in your editor ($VISUAL, $EDITOR): one new release."""
    config = current().api.get(path("apps", app_name, "config-text"))
    seen = config["version"]
    heading = (
        f"# The config of {app_name}, v{seen}. A line that you remove removes the config var.\n"
        "# Values are literal, nothing is interpolated; put those with blanks or several lines in quotes.\n"
    )
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as folder:
        file = Path(folder) / f"{app_name}.env"
        file.touch(mode=0o600)
        file.write_bytes((heading + config["text"]).encode())
        while True:
            click.edit(filename=str(file))
            try:
                text = _decoded(file.read_bytes())
                if _changes(_previewed(app_name, text, replace=True)) and not yes:
                    click.confirm("Apply it?", abort=True, err=True)
                _apply(app_name, text, no_wait, replace=True, seen=seen)
            except UserProblem as exc:
                if not sys.stdin.isatty():
                    raise
                say("\n".join(exc.lines()))
                click.confirm("Edit it again?", default=True, abort=True, err=True)
                if exc.id == "config_changed":  # they know now, and see what would change against that
                    seen = _previewed(app_name, text, replace=True)["version"]
            else:
                return


COMMANDS = [show_, get, set_, unset, edit, import_, export]
