"""ports, ports:add, ports:change, ports:remove, domains, domains:add, domains:remove."""

from __future__ import annotations

import click

from paas.accounts.selectors import first_admin
from paas.cli.common import app_option, find_app, json_option, show_json, table
from paas.cli.machine import host_command
from paas.cli.releases import wait_for_release
from paas.releases.models import Release
from paas.routing import services
from paas.routing.rules import checked_protocol
from paas.routing.selectors import public_address, public_ports
from runtime.errors import InvalidInput
from runtime.router.api import PortProtocol

no_wait_option = click.option("--no-wait", is_flag=True, help="Don't wait until the release is live.")
process_option = click.option("-p", "--process", default="web", show_default=True, help="The process type.")


@host_command("ports")
@app_option
@json_option
def ports(app_name: str, as_json: bool) -> None:
    """List the public TCP and UDP ports of an app."""
    found = public_ports(find_app(app_name))
    if as_json:
        show_json(
            [
                {
                    "public_port": each.public_port,
                    "protocol": each.protocol,
                    "address": each.address,
                    "process": each.process,
                    "port": each.port,
                    "variable": each.variable,
                    "live": each.is_live,
                }
                for each in found
            ]
        )
        return
    rows = [
        (each.address, each.protocol, f"{each.process}:{each.port}", each.variable, "" if each.is_live else "coming")
        for each in found
    ]
    table(rows, ("address", "protocol", "leads to", "told as", ""))
    if not found:
        click.echo(f"No public ports. Open one: paas ports:add 9000 -a {app_name}", err=True)


@host_command("ports:add")
@app_option
@process_option
@click.option("--udp", is_flag=True, help="For UDP; TCP otherwise.")
@click.option("--public", "public_port", type=int, help="The public port; a free one otherwise.")
@no_wait_option
@click.argument("port", type=int)
def add_port(  # noqa: PLR0917 - click gives them by name
    app_name: str, process: str, udp: bool, public_port: int | None, no_wait: bool, port: int
) -> None:
    """Lead a public port to a port of an app: one new release. Prints the address."""
    app = find_app(app_name)
    protocol = "udp" if udp else "tcp"
    chosen, release = services.add_port(
        app, process=process, port=port, protocol=protocol, public_port=public_port, by=first_admin()
    )
    _wait(release, no_wait)
    click.echo(public_address(app, chosen))


@host_command("ports:change")
@app_option
@process_option
@no_wait_option
@click.argument("public", metavar="PUBLIC[/udp]")
@click.argument("port", type=int)
def change_port(app_name: str, process: str, no_wait: bool, public: str, port: int) -> None:
    """Lead a public port to another port of the app: one new release."""
    protocol, public_port = _public(public)
    app = find_app(app_name)
    _wait(services.change_port(app, protocol, public_port, process=process, port=port, by=first_admin()), no_wait)


@host_command("ports:remove")
@app_option
@no_wait_option
@click.argument("public", metavar="PUBLIC[/udp]")
def remove_port(app_name: str, no_wait: bool, public: str) -> None:
    """Close a public port: one new release."""
    _wait(services.remove_port(find_app(app_name), *_public(public), by=first_admin()), no_wait)


def _public(text: str) -> tuple[PortProtocol, int]:
    """`20001`, `20001/tcp` or `20001/udp`."""
    number, _, protocol = text.partition("/")
    if not (number.isascii() and number.isdigit() and len(number) <= 5):
        raise InvalidInput(f"{text!r} is no public port.", hint="Write it as 20001 or 20001/udp.", id="invalid_port")
    return checked_protocol(protocol or "tcp"), int(number)


def _wait(release: Release | None, no_wait: bool) -> None:
    if release is None:
        click.echo("Nothing changes.", err=True)
    elif not no_wait:
        wait_for_release(release)


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


COMMANDS = [ports, add_port, change_port, remove_port, domains, add_domain, remove_domain]
