"""host: where the platform answers."""

from __future__ import annotations

from datetime import timedelta

import click
from paas_client import tls
from paas_client.options import json_option
from paas_client.output import show_json

from paas.cli.machine import host_command


def doors() -> dict[str, str | None]:
    """Address of every door of the platform."""
    from django.conf import settings

    env = settings.ENV
    has_ca = (env.https_port or env.api_port) and env.ca_file.exists()
    return {
        "domain": env.domain,
        "http_url": env.address(),
        "https_url": env.address(scheme="https") if env.https_port else None,
        "git_url": env.address("git"),
        "dashboard_url": env.address("dashboard"),
        "api_url": env.api_url,
        "api_local_url": env.api_local_url or None,
        "rendezvous": f"localhost:{env.rendezvous_port}" if env.rendezvous_port else None,
        "ssh": env.ssh_url or None,
        "registry": env.registry_url.split("://", 1)[-1].rpartition("@")[2],
        "ca_file": str(env.ca_file) if has_ca else None,
        "ca_fingerprint": tls.fingerprint(env.ca_file.read_text()) if has_ca else None,
    }


@host_command("host")
@json_option
def host(as_json: bool) -> None:
    """Print the addresses of the platform, and with --json a fresh token (valid for a day)."""
    from paas.accounts import services
    from paas.accounts.selectors import first_admin

    user = first_admin()
    addresses = doors()
    if as_json:
        _, secret = services.create_token(user, name="host", by=user, lifetime=timedelta(days=1))
        show_json({**addresses, "email": user.email, "token": secret})
        return
    for name, value in addresses.items():
        click.echo(f"{name.replace('_', ' '):14} {value or '–'}")
    click.echo(f"{'admin':14} {user.email}")


COMMANDS = [host]
