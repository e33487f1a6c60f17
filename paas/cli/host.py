"""host, users:create, users:password, tokens:create: what root needs to reach the platform."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click
from django.conf import settings

from paas.accounts import services
from paas.accounts.models import User
from paas.cli.common import acting_user, json_option, show_json
from runtime.errors import NotFound


def doors() -> dict[str, str | None]:
    """Address of every door of the platform."""
    env = settings.ENV
    ca_file: Path = env.home / "certs" / "ca.pem"
    has_https = env.https_port and ca_file.exists()
    return {
        "domain": env.domain,
        "http_url": env.address(),
        "https_url": env.address(scheme="https") if has_https else None,
        "git_url": env.address("git"),
        "dashboard_url": env.address("dashboard"),
        "registry": settings.ENV.registry_url.split("://", 1)[-1].rpartition("@")[2],
        "ca_file": str(ca_file) if has_https else None,
    }


@click.command("host")
@json_option
def host(as_json: bool) -> None:
    """Print the addresses of the platform, and with --json a fresh token (valid for a day)."""
    user = acting_user()
    if as_json:
        _, secret = services.create_token(user, name="host", by=user, lifetime=timedelta(days=1))
        show_json({**doors(), "email": user.email, "token": secret})
        return
    for name, value in doors().items():
        click.echo(f"{name.replace('_', ' '):14} {value or '–'}")
    click.echo(f"{'admin':14} {user.email}")


def _user(email: str | None) -> User:
    if email is None:
        return acting_user()
    user = User.objects.filter(email__iexact=email).first()
    if user is None:
        raise NotFound(f"There is no user {email}.")
    return user


@click.command("users:password")
@click.argument("email", required=False)
@click.password_option(help="The new password; asked for when left out.")
def password(email: str | None, password: str) -> None:
    """Set a password: of the first admin, or of the user with this e-mail."""
    user = _user(email)
    services.set_password(user, password, by=acting_user())
    click.echo(f"The password of {user.email} is set.", err=True)


@click.command("users:create")
@click.argument("email")
@click.password_option(help="The password; asked for when left out.")
@click.option("--admin", is_flag=True, help="May see and do everything.")
def create_user(email: str, password: str, admin: bool) -> None:
    """Add a person, who sees the apps they own."""
    user = services.create_user(email=email, password=password, is_admin=admin, by=acting_user())
    click.echo(f"Added {user.email}.", err=True)


@click.command("tokens:create")
@click.option("--email", help="For this user; the first admin otherwise.")
@click.option("--name", default="cli", show_default=True)
@click.option("--days", type=click.IntRange(1, 3650), help="How long it is valid; for ever when left out.")
def create_token(email: str | None, name: str, days: int | None) -> None:
    """Make a token: the password for git push. It is shown once."""
    lifetime = timedelta(days=days) if days else None
    _, secret = services.create_token(_user(email), name=name, by=acting_user(), lifetime=lifetime)
    click.echo(secret)


COMMANDS = [host, create_user, password, create_token]
