"""domains, domains:add, domains:remove."""

from __future__ import annotations

import click

from paas.accounts.selectors import first_admin
from paas.cli.common import app_option, find_app, json_option, show_json, table
from paas.cli.machine import host_command
from paas.routing import services


@host_command("domains")
@app_option
@json_option
def domains(app_name: str, as_json: bool) -> None:
    """List an app's own host names, and where DNS leads them."""
    app = find_app(app_name)
    services.check_domains(app)
    rows = list(app.domains.all())
    if as_json:
        show_json([{"name": each.name, "dns": each.dns_state, "addresses": each.dns_addresses} for each in rows])
        return
    table([(each.name, each.dns_state, ", ".join(each.dns_addresses)) for each in rows], ("domain", "dns", "leads to"))
    if not rows:
        click.echo(f"No domains of its own. Add one: paas domains:add shop.example.com -a {app_name}", err=True)


@host_command("domains:add")
@app_option
@click.argument("name")
def add_domain(app_name: str, name: str) -> None:
    """Let an app answer at a host name of its own, or at all below one: *.example.com."""
    app = find_app(app_name)
    domain = services.add_domain(app, name, by=first_admin())
    click.echo(f"{app.name} answers at {domain.name} as soon as its DNS leads here.", err=True)


@host_command("domains:remove")
@app_option
@click.argument("name")
def remove_domain(app_name: str, name: str) -> None:
    """Let an app answer at a host name no more."""
    services.remove_domain(find_app(app_name), name, by=first_admin())


COMMANDS = [domains, add_domain, remove_domain]
