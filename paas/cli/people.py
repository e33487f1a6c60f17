"""access, users, tokens, keys, audit: who may do what, and who did what."""

from __future__ import annotations

import csv
import json
import sys
from datetime import timedelta
from typing import TextIO

import click
from django.conf import settings

from paas.accounts import services
from paas.accounts.models import ApiToken, Scope, SSHKey, User
from paas.accounts.selectors import first_admin, get_user, users_with_numbers
from paas.apps.models import Role
from paas.apps.selectors import audit_events, find_audit_events, get_collaborator
from paas.apps.services import add_collaborator, change_role, invite, remove_collaborator, transfer_app
from paas.cli.common import app_option, find_app, json_option, show_json, table
from paas.cli.machine import host_command
from paas.core.audit_export import COLUMNS, as_cells, as_values
from paas.core.models import AuditEvent
from runtime.errors import InvalidInput, NotFound

role_option = click.option(
    "--role", type=click.Choice([role.name.lower() for role in Role]), default="developer", show_default=True
)
email_option = click.option("--email", help="Of this user; the first admin otherwise.")


def _user(email: str | None) -> User:
    return first_admin() if email is None else get_user(email)


@host_command("access")
@app_option
@json_option
def list_access(app_name: str, as_json: bool) -> None:
    """List who may do what with an app."""
    app = find_app(app_name)
    rows = [(app.owner.email, "owner", app.created_at)]
    rows += [
        (row.user.email, Role(row.role).name.lower(), row.created_at) for row in app.collaborators.select_related("user")
    ]
    if as_json:
        show_json([{"email": email, "role": role, "since": since} for email, role, since in rows])
        return
    table(rows, ("person", "role", "since (UTC)"))


@host_command("access:add")
@app_option
@role_option
@click.argument("email")
def add_access(app_name: str, role: str, email: str) -> None:
    """Give somebody a role in an app."""
    add_collaborator(find_app(app_name), get_user(email), Role[role.upper()], by=first_admin())
    click.echo(f"{email} is {role} of {app_name}.", err=True)


@host_command("access:update")
@app_option
@role_option
@click.argument("email")
def update_access(app_name: str, role: str, email: str) -> None:
    """Change somebody's role in an app."""
    change_role(get_collaborator(find_app(app_name), email), Role[role.upper()], by=first_admin())
    click.echo(f"{email} is {role} of {app_name}.", err=True)


@host_command("access:remove")
@app_option
@click.argument("email")
def remove_access(app_name: str, email: str) -> None:
    """Take somebody's role in an app away."""
    remove_collaborator(get_collaborator(find_app(app_name), email), by=first_admin())
    click.echo(f"{email} has no access to {app_name} any more.", err=True)


@host_command("apps:transfer")
@app_option
@click.argument("email")
def transfer(app_name: str, email: str) -> None:
    """Give an app to somebody else; the owner before stays as a developer."""
    transfer_app(find_app(app_name), get_user(email), by=first_admin())
    click.echo(f"{email} owns {app_name} now.", err=True)


@host_command("users")
@json_option
def list_users(as_json: bool) -> None:
    """List the people on this platform."""
    users = users_with_numbers()
    if as_json:
        show_json(
            [
                {
                    "id": user.id,
                    "email": user.email,
                    "name": user.name,
                    "is_admin": user.is_admin,
                    "is_active": user.is_active,
                    "can_create_apps": user.may_create_apps,
                    "two_factor": bool(user.two_factor_count),
                    "apps": user.app_count,
                    "last_sign_in_at": user.last_login,
                }
                for user in users
            ]
        )
        return
    table(
        (
            (
                user.email,
                "admin" if user.is_admin else "",
                "active" if user.is_active else "deactivated",
                "on" if user.two_factor_count else "off",
                user.app_count,
                user.last_login,
            )
            for user in users
        ),
        ("person", "", "state", "two-factor", "apps", "last sign-in (UTC)"),
    )


@host_command("users:create")
@click.argument("email")
@click.password_option(help="The password; asked for when left out.")
@click.option("--admin", is_flag=True, help="May see and do everything.")
def create_user(email: str, password: str, admin: bool) -> None:
    """Add a person, who sees the apps they own or share."""
    user = services.create_user(email=email, password=password, is_admin=admin, by=first_admin())
    click.echo(f"Added {user.email}.", err=True)


@host_command("users:invite")
@click.argument("email")
@click.option("--admin", is_flag=True, help="May see and do everything.")
@click.option("-a", "--app", "app_name", help="Give them a role in this app.")
@role_option
def invite_user(email: str, admin: bool, app_name: str | None, role: str) -> None:
    """Print a link with which somebody new becomes a user, once, within a week."""
    app = find_app(app_name) if app_name else None
    invitation, secret = invite(email=email, by=first_admin(), app=app, role=Role[role.upper()], is_admin=admin)
    click.echo(f"Send this to {invitation.email}:", err=True)
    click.echo(f"{settings.ENV.address('dashboard')}/invitations/{secret}")


@host_command("users:deactivate")
@click.argument("email")
def deactivate(email: str) -> None:
    """End somebody's sessions and tokens at once, and let them in no more. What they own goes on running."""
    services.deactivate_user(get_user(email), by=first_admin())
    click.echo(f"{email} is deactivated.", err=True)


@host_command("users:activate")
@click.argument("email")
def activate(email: str) -> None:
    """Let somebody in again who was deactivated."""
    services.activate_user(get_user(email), by=first_admin())
    click.echo(f"{email} may sign in again.", err=True)


@host_command("tokens")
@email_option
@json_option
def list_tokens(email: str | None, as_json: bool) -> None:
    """List the tokens of a user. The secrets themselves are kept nowhere."""
    tokens = _user(email).tokens.select_related("app")
    if as_json:
        show_json(
            [
                {
                    "id": token.id,
                    "name": token.name,
                    "prefix": token.prefix,
                    "scopes": token.scopes,
                    "app": token.app.name if token.app else None,
                    "created_at": token.created_at,
                    "expires_at": token.expires_at,
                    "last_used_at": token.last_used_at,
                    "last_used_from": token.last_used_from or None,
                }
                for token in tokens
            ]
        )
        return
    table(
        (
            (
                f"{token.prefix}…",
                token.name,
                ",".join(token.scopes),
                token.app.name if token.app else "all",
                "expired" if token.is_expired else token.expires_at or "never",
                token.last_used_at or "never",
                token.last_used_from,
            )
            for token in tokens
        ),
        ("token", "name", "scope", "apps", "expires (UTC)", "last used (UTC)", "from"),
    )


@host_command("tokens:create")
@email_option
@click.option("--name", default="cli", show_default=True)
@click.option("--days", type=click.IntRange(1, 3650), help="How long it is valid; for ever when left out.")
@click.option(
    "--scope", "scopes", type=click.Choice(Scope.values), multiple=True, default=[Scope.GLOBAL.value], show_default=True
)
@click.option("-a", "--app", "app_name", help="Good for this app alone.")
def create_token(email: str | None, name: str, days: int | None, scopes: tuple[str, ...], app_name: str | None) -> None:
    """Make a token: the password for git push. It is shown once."""
    app = find_app(app_name) if app_name else None
    _, secret = services.create_token(
        _user(email),
        name=name,
        by=first_admin(),
        lifetime=timedelta(days=days) if days else None,
        scopes=scopes,
        app_id=app.id if app else None,
        app_name=app.name if app else "",
    )
    click.echo(secret)


@host_command("tokens:revoke")
@email_option
@click.argument("token")
def revoke_token(email: str | None, token: str) -> None:
    """Make a token worthless at once: by its first letters, as in the list, by its name or id."""
    user = _user(email)
    wanted = token.rstrip("…")
    found = [row for row in user.tokens.all() if wanted in (row.prefix, row.name, str(row.pk))]
    row = _only_one(found, token, "token", "tokens")
    assert isinstance(row, ApiToken)
    services.revoke_token(row, by=first_admin())
    click.echo(f"Revoked {row.name}.", err=True)


@host_command("keys")
@email_option
@json_option
def list_keys(email: str | None, as_json: bool) -> None:
    """List the SSH keys of a user."""
    keys = _user(email).ssh_keys.all()
    if as_json:
        show_json(
            [
                {
                    "id": key.id,
                    "name": key.name,
                    "type": key.kind,
                    "bits": key.bits,
                    "fingerprint": key.fingerprint,
                    "public_key": key.public_key,
                    "created_at": key.created_at,
                    "last_used_at": key.last_used_at,
                }
                for key in keys
            ]
        )
        return
    table(
        ((key.fingerprint, f"{key.kind} {key.bits}", key.name, key.created_at) for key in keys),
        ("fingerprint", "type", "name", "since (UTC)"),
    )


@host_command("keys:add")
@email_option
@click.option("--name", default="", help="Its comment when left out.")
@click.argument("file", type=click.File("r"))
def add_key(email: str | None, name: str, file: TextIO) -> None:
    """Add an SSH key from a .pub file; - for stdin."""
    key = services.add_key(_user(email), text=file.read(64 * 1024), name=name, by=first_admin())
    click.echo(f"Added {key.name}: {key.fingerprint}", err=True)


@host_command("keys:remove")
@email_option
@click.argument("key")
def remove_key(email: str | None, key: str) -> None:
    """Remove an SSH key: by fingerprint, name or id."""
    found = [row for row in _user(email).ssh_keys.all() if key in (row.fingerprint, row.name, str(row.pk))]
    row = _only_one(found, key, "key", "keys")
    assert isinstance(row, SSHKey)
    services.remove_key(row, by=first_admin())
    click.echo(f"Removed {row.name}.", err=True)


def _only_one(found: list[ApiToken] | list[SSHKey], wanted: str, noun: str, command: str) -> ApiToken | SSHKey:
    if not found:
        raise NotFound(f"There is no {noun} {wanted!r}.", hint=f"See all with: paas {command}")
    if len(found) > 1:
        raise InvalidInput(f"{wanted!r} is the name of several.", hint=f"Say which by its id: paas {command} --json")
    return found[0]


@host_command("audit")
@click.option("-a", "--app", "app_name", default="", help="Only what happened to this app.")
@click.option("--actor", default="", help="Only what somebody with this in the e-mail did.")
@click.option("--action", default="", help="Only this action, or those that begin with it: release, access.add.")
@click.option("--since", default="", help="Only from this day or time on: 2026-11-25, 2026-11-25T14:30.")
@click.option("--until", default="", help="Only before this day or time.")
@click.option("--search", "text", default="", help="Only with all of these words.")
@click.option("-n", "--num", default=50, show_default=True, help="How many, newest first; 0 for all.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@json_option
def audit(  # noqa: PLR0917  # click passes them by name
    app_name: str,
    actor: str,
    action: str,
    since: str,
    until: str,
    text: str,
    num: int,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Show who did what, from where and through which door."""
    events = find_audit_events(
        audit_events(first_admin()), app=app_name, actor=actor, action=action, since=since, until=until, text=text
    )
    chosen = events[:num] if num else events
    if as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(COLUMNS)
        for event in chosen.iterator(chunk_size=1000):
            writer.writerow(as_cells(event))
        return
    if as_json:
        show_json([as_values(event) for event in chosen.iterator(chunk_size=1000)])
        return
    table(
        (
            (event.at, event.actor_email or "the platform", event.door, event.action, event.app_name, _moved(event))
            for event in chosen
        ),
        ("at (UTC)", "who", "door", "action", "app", "what"),
    )


def _moved(event: AuditEvent) -> str:
    values = as_values(event)
    parts = [values["before"], values["after"]] if values["before"] and values["after"] else [values["after"]]
    text = " -> ".join(json.dumps(part, ensure_ascii=False) for part in parts if part)
    detail = " ".join(f"{name}={value}" for name, value in values["detail"].items())
    return f"{text} {detail}".strip()[:120]


COMMANDS = [
    list_access, add_access, update_access, remove_access, transfer, list_users, create_user, invite_user,
    deactivate, activate, list_tokens, create_token, revoke_token, list_keys, add_key, remove_key, audit,
]  # fmt: skip
