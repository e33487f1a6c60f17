"""host: where the platform answers."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click
from paas_client import tls
from paas_client.options import json_option
from paas_client.output import show_json

from paas.cli.machine import host_command


@host_command("host")
@json_option
def host(as_json: bool) -> None:
    """Print the addresses of the platform, and with --json a fresh token (valid for a day)."""
    from django.conf import settings

    from paas.accounts import services
    from paas.accounts.selectors import first_admin
    from paas.machine.doors import doors

    user = first_admin()
    addresses = doors(settings.ENV)
    ca_file = addresses["ca_file"]
    addresses["ca_fingerprint"] = tls.fingerprint(Path(ca_file).read_text()) if ca_file else None
    if as_json:
        _, secret = services.create_token(user, name="host", by=user, lifetime=timedelta(days=1))
        show_json({**addresses, "email": user.email, "token": secret})
        return
    for name, value in addresses.items():
        click.echo(f"{name.replace('_', ' '):14} {value or '–'}")
    click.echo(f"{'admin':14} {user.email}")


COMMANDS = [host]
