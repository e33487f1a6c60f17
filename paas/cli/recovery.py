"""users:password, users:two-factor-off: for somebody who can't sign in any more. Only root on the machine may do that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from paas.cli.machine import host_command

if TYPE_CHECKING:
    from paas.accounts.models import User


@host_command("users:password")
@click.argument("email", required=False)
@click.password_option(help="The new password; asked for when left out.")
def password(email: str | None, password: str) -> None:
    """Set a password: of the first admin, or of the user with this e-mail."""
    from paas.accounts import services
    from paas.accounts.selectors import first_admin

    user = _user(email)
    services.set_password(user, password, by=first_admin())
    click.echo(f"The password of {user.email} is set.", err=True)


@host_command("users:two-factor-off")
@click.argument("email", required=False)
def two_factor_off(email: str | None) -> None:
    """Ask for no second step any more: for somebody who lost the phone and the recovery codes."""
    from paas.accounts import services
    from paas.accounts.selectors import first_admin

    user = _user(email)
    services.reset_two_factor(user, by=first_admin())
    click.echo(f"{user.email} signs in with the password alone.", err=True)


def _user(email: str | None) -> User:
    from paas.accounts.selectors import first_admin, get_user

    return first_admin() if email is None else get_user(email)


COMMANDS = [password, two_factor_off]
