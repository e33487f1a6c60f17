"""git:remote, git:credentials: git knows where to push, and as whom."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from urllib.parse import urlsplit

import click

from paas_client import git
from paas_client.api import path
from paas_client.options import command
from paas_client.output import say
from paas_client.session import RemoteDoor, Session, current
from paas_client.settings import is_loopback


def _remote(app_name: str, remote: str) -> None:
    session = current()
    app = session.api.get(path("app-details", app_name))
    url = _git_url(session, app["name"], app["git_url"])
    done = git.set_remote(remote, url)
    say(f"The git remote {remote} {'leads' if done == 'kept' else f'was {done}: it leads'} to {url}.")
    parts = urlsplit(url)
    if parts.scheme in ("http", "https") and isinstance(session.door, RemoteDoor):
        base = f"{parts.scheme}://{parts.netloc}"
        values = {f"credential.{base}.helper": f"!{_ourselves()} git:credentials"}
        if parts.scheme == "https" and session.door.platform.ca_file:
            values[f"http.{base}.sslCAInfo"] = session.door.platform.ca_file
        git.configure(values)
    say(f"Deploy with: git push {remote} {app['deploy_branch']}")


def _git_url(session: Session, name: str, told: str) -> str:
    """Encrypted wherever the API is, as the token is the password; on the machine itself as the platform says."""
    if told.startswith("https://") or is_loopback(told) or not session.door.platform.url.startswith("https://"):
        return told
    host = session.api.get("/host")
    port = urlsplit(host["https_url"]).port if host["https_url"] else None
    return f"https://git.{host['domain']}{f':{port}' if port else ''}/{name}.git"


def _ourselves() -> str:
    """How git starts this program: by its name, or where it is."""
    program = Path(sys.argv[0])
    return shlex.quote(str(program.absolute())) if program.name == "paas" and program.exists() else "paas"


@command("git:remote")
@click.option("-a", "--app", "app_name", envvar="PAAS_APP", required=True, help="The app.")
@click.option("-r", "--remote", default="paas", show_default=True, help="What to call it.")
def git_remote(app_name: str, remote: str) -> None:
    """Lead a git remote of this folder to an app, and let git log in as you."""
    _remote(app_name, remote)


@command("remote:add")
@click.argument("app_name", metavar="APP")
@click.option("-r", "--remote", default="paas", show_default=True, help="What to call it.")
def remote_add(app_name: str, remote: str) -> None:
    """The same as git:remote -a APP."""
    _remote(app_name, remote)


@command("git:credentials")
@click.argument("action", type=click.Choice(["get", "store", "erase"]))
def credentials(action: str) -> None:
    """Answer git, which asks for a password: a credential helper."""
    asked = dict(line.rstrip("\n").partition("=")[::2] for line in sys.stdin if "=" in line)
    session = current()
    if action != "get" or asked.get("host") not in session.door.git_hosts():
        return
    click.echo(f"username={session.door.platform.email or 'paas'}\npassword={session.api.token}")


COMMANDS = [git_remote, remote_add, credentials]
