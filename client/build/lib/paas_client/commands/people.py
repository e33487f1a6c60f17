"""access, users: who may do what."""

from __future__ import annotations

import click

from paas_client.api import path
from paas_client.options import app_option, command, complete_apps, json_option
from paas_client.output import at, say, show, show_json, table
from paas_client.session import current

ROLES = ("viewer", "operator", "developer", "owner")
role_option = click.option("--role", type=click.Choice(ROLES), default="developer", show_default=True)


@command("access")
@app_option
@json_option
def list_access(app_name: str, as_json: bool) -> None:
    """List who may do what with an app."""
    rows = current().api.list(path("apps", app_name, "access"))
    if as_json:
        show_json(rows)
        return
    table(((row["email"], row["role"], at(row["since"])) for row in rows), ("person", "role", "since (UTC)"))


def _give(app_name: str, email: str, role: str) -> None:
    current().api.put(path("apps", app_name, "access", email), {"role": role})
    say(f"{email} is {role} of {app_name}.")


@command("access:add")
@app_option
@role_option
@click.argument("email")
def add_access(app_name: str, role: str, email: str) -> None:
    """Give somebody a role in an app."""
    _give(app_name, email, role)


@command("access:update")
@app_option
@role_option
@click.argument("email")
def update_access(app_name: str, role: str, email: str) -> None:
    """Change somebody's role in an app."""
    _give(app_name, email, role)


@command("access:remove")
@app_option
@click.argument("email")
def remove_access(app_name: str, email: str) -> None:
    """Take somebody's role in an app away."""
    current().api.delete(path("apps", app_name, "access", email))
    say(f"{email} has no access to {app_name} any more.")


@command("users")
@json_option
def list_users(as_json: bool) -> None:
    """List the people on this platform."""
    users = current().api.list("/people")
    if as_json:
        show_json(users)
        return
    table(
        (
            (
                user["email"],
                "admin" if user["is_admin"] else "",
                "active" if user["is_active"] else "deactivated",
                "on" if user["two_factor"] else "off",
                user["apps"],
                at(user["last_sign_in_at"]),
            )
            for user in users
        ),
        ("person", "", "state", "two-factor", "apps", "last sign-in (UTC)"),
    )


@command("users:create")
@click.argument("email")
@click.password_option(help="The password; asked for when left out.")
@click.option("--admin", is_flag=True, help="May see and do everything.")
def create_user(email: str, password: str, admin: bool) -> None:
    """Add a person, who sees the apps they own or share."""
    user = current().api.post("/people", {"email": email, "password": password, "is_admin": admin})
    say(f"Added {user['email']}.")


@command("users:invite")
@click.argument("email")
@click.option("--admin", is_flag=True, help="May see and do everything.")
@click.option("-a", "--app", "app_name", help="Give them a role in this app.", shell_complete=complete_apps)
@role_option
def invite_user(email: str, admin: bool, app_name: str | None, role: str) -> None:
    """Print a link with which somebody new becomes a user, once, within a week."""
    if app_name and admin:
        raise click.UsageError("An admin has every app: give --admin or --app.")
    if app_name:
        made = current().api.post(path("apps", app_name, "invitations"), {"email": email, "role": role})
    else:
        made = current().api.post("/invitations", {"email": email, "is_admin": admin})
    say(f"Send this to {made['email']}:")
    show(made["url"])


def _activate(email: str, is_active: bool) -> None:
    current().api.patch(path("people", email), {"is_active": is_active})


@command("users:deactivate")
@click.argument("email")
def deactivate(email: str) -> None:
    """End somebody's sessions and tokens at once, and let them in no more. What they own goes on running."""
    _activate(email, False)
    say(f"{email} is deactivated.")


@command("users:activate")
@click.argument("email")
def activate(email: str) -> None:
    """Let somebody in again who was deactivated."""
    _activate(email, True)
    say(f"{email} may sign in again.")


COMMANDS = [
    list_access, add_access, update_access, remove_access,
    list_users, create_user, invite_user, deactivate, activate,
]  # fmt: skip
