"""apps, apps:branch, apps:create, apps:destroy, apps:rename, apps:transfer, maintenance:on, maintenance:off."""

from __future__ import annotations

from pathlib import Path

import click

from paas_client.api import path
from paas_client.errors import PlatformProblem, UserProblem
from paas_client.options import app_argument, app_option, command, json_option
from paas_client.output import progress, say, show, show_json, table
from paas_client.session import current
from paas_client.waiting import REMOVAL_SECONDS, looks

MOST_BYTES = 256 * 1024  # far more than a page may have: the platform says how much that is


@command("apps")
@json_option
def list_apps(as_json: bool) -> None:
    """List the apps."""
    api = current().api
    apps = api.list("/app-details")
    if as_json:
        show_json(apps)
        return
    table(
        ((app["name"], f"v{app['release']}" if app["release"] else "–", app["url"]) for app in apps),
        ("app", "release", "address"),
    )
    if not apps:
        say("No apps yet. Make one: paas apps:create my-app")


@command("apps:create")
@click.argument("name")
def create(name: str) -> None:
    """Create an app before its first push."""
    app = current().api.post("/apps", {"name": name})
    say(f"Created {app['name']}. Push to it: git push {app['git_url']} main")


@command("apps:destroy")
@app_argument("name")
@click.option("--confirm", default="", help="The app's name again.")
def destroy(name: str, confirm: str) -> None:
    """Remove an app with everything it has. There is no way back."""
    api = current().api
    app = api.get(path("apps", name))
    if not confirm:
        confirm = click.prompt(f"This destroys {name}, its releases and its code. Type its name to confirm", err=True)
    if confirm != app["name"]:
        raise UserProblem(f"{confirm!r} is not {app['name']!r}. Nothing was destroyed.")
    with progress(f"Destroying {name}"):
        api.delete(path("apps", app["id"]))
        for _ in looks(REMOVAL_SECONDS):
            try:
                api.get(path("app-details", app["id"]))
            except UserProblem as exc:
                if exc.id != "app_not_found":
                    raise
                return
        raise PlatformProblem(
            f"{name} is still being removed.", hint="It goes on in the background. Is the platform well?"
        )


@command("apps:branch")
@app_option
@click.argument("branch", required=False)
def deploy_branch(app_name: str, branch: str | None) -> None:
    """Choose the branch whose pushes are deployed; without one, show it."""
    api = current().api
    if branch is None:
        show(api.get(path("apps", app_name, "settings"))["deploy_branch"])
        return
    api.patch(path("apps", app_name, "settings"), {"deploy_branch": branch})
    say(f"Pushes to {branch} are deployed now: git push paas {branch}")


@command("apps:rename")
@app_option
@click.argument("name")
def rename(app_name: str, name: str) -> None:
    """Give an app another name: its address and its git remote change with it."""
    app = current().api.patch(path("apps", app_name), {"name": name})
    say(f"{app_name} is {app['name']} now, at {app['web_url']}")
    say(f"Your remote has the old name: git remote set-url paas {app['git_url']}")


@command("apps:transfer")
@app_option
@click.argument("email")
def transfer(app_name: str, email: str) -> None:
    """Give an app to somebody else; the owner before stays as a developer."""
    current().api.post(path("apps", app_name, "transfer"), {"to": email})
    say(f"{email} owns {app_name} now.")


def _maintenance(app_name: str, on: bool) -> None:
    current().api.patch(path("apps", app_name), {"maintenance": on})
    say(f"Maintenance mode of {app_name} is {'on' if on else 'off'}.")


@command("maintenance:on")
@app_option
@click.option(
    "--page",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="An HTML file to show, kept for the next time.",
)
@click.option("--default-page", is_flag=True, help="Show the platform's page again.")
def maintenance_on(app_name: str, page: Path | None, default_page: bool) -> None:
    """Show visitors a maintenance page; instances go on running."""
    address = path("apps", app_name, "maintenance-page")
    if page is not None:
        current().api.put(address, {"html": _content(page)})
    elif default_page:
        current().api.delete(address)
    _maintenance(app_name, True)


def _content(page: Path) -> str:
    with click.open_file(str(page), "rb") as stream:
        data: bytes = stream.read(MOST_BYTES)
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise UserProblem("The maintenance page is not in UTF-8.", id="invalid_page") from exc


@command("maintenance:off")
@app_option
def maintenance_off(app_name: str) -> None:
    """Let visitors in again."""
    _maintenance(app_name, False)


COMMANDS = [list_apps, create, deploy_branch, destroy, rename, transfer, maintenance_on, maintenance_off]
