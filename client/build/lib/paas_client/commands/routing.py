"""ports, domains: what leads to an app."""

from __future__ import annotations

import click

from paas_client.api import compact, path
from paas_client.errors import UserProblem
from paas_client.options import app_option, command, json_option, no_wait_option
from paas_client.output import say, show, show_json, table
from paas_client.session import current
from paas_client.waiting import wait_for_release

process_option = click.option("-p", "--process", default="web", show_default=True, help="The process type.")


@command("ports")
@app_option
@json_option
def ports(app_name: str, as_json: bool) -> None:
    """List the public TCP and UDP ports of an app."""
    found = current().api.list(path("apps", app_name, "ports"))
    if as_json:
        show_json(found)
        return
    table(
        (
            (
                each["address"],
                each["protocol"],
                f"{each['process']}:{each['port']}",
                each["variable"],
                "" if each["live"] else "coming",
            )
            for each in found
        ),
        ("address", "protocol", "leads to", "told as", ""),
    )
    if not found:
        say(f"No public ports. Open one: paas ports:add 9000 -a {app_name}")


@command("ports:add")
@app_option
@process_option
@click.option("--udp", is_flag=True, help="For UDP; TCP otherwise.")
@click.option("--public", "public_port", type=int, help="The public port; a free one otherwise.")
@no_wait_option
@click.argument("port", type=int)
def add_port(  # noqa: PLR0917  # click gives them by name
    app_name: str, process: str, udp: bool, public_port: int | None, no_wait: bool, port: int
) -> None:
    """Lead a public port to a port of an app: one new release. Prints the address."""
    api = current().api
    wish = {"port": port, "process": process, "protocol": "udp" if udp else "tcp", "public_port": public_port}
    made = api.post(path("apps", app_name, "ports"), compact(wish))
    wait_for_release(api, app_name, made["release"], no_wait=no_wait)
    show(made["address"])


@command("ports:change")
@app_option
@process_option
@no_wait_option
@click.argument("public", metavar="PUBLIC[/udp]")
@click.argument("port", type=int)
def change_port(app_name: str, process: str, no_wait: bool, public: str, port: int) -> None:
    """Lead a public port to another port of the app: one new release."""
    api = current().api
    answer = api.patch(path("apps", app_name, "ports", *_public(public)), {"port": port, "process": process})
    wait_for_release(api, app_name, answer["release"], no_wait=no_wait)


@command("ports:remove")
@app_option
@no_wait_option
@click.argument("public", metavar="PUBLIC[/udp]")
def remove_port(app_name: str, no_wait: bool, public: str) -> None:
    """Close a public port: one new release."""
    api = current().api
    answer = api.delete(path("apps", app_name, "ports", *_public(public)))
    wait_for_release(api, app_name, answer["release"], no_wait=no_wait)


def _public(text: str) -> tuple[str, int]:
    """`20001`, `20001/tcp` or `20001/udp`."""
    number, _, protocol = text.partition("/")
    is_port = number.isascii() and number.isdigit() and len(number) <= 5
    if not is_port or protocol.lower() not in ("", "tcp", "udp"):
        raise UserProblem(f"{text!r} is no public port.", hint="Write it as 20001 or 20001/udp.", id="invalid_port")
    return protocol.lower() or "tcp", int(number)


@command("domains")
@app_option
@json_option
def domains(app_name: str, as_json: bool) -> None:
    """List an app's own host names, and where DNS leads them."""
    rows = [
        {"name": each["hostname"], "dns": each["dns"], "addresses": each["addresses"]}
        for each in current().api.list(path("apps", app_name, "domain-checks"))
    ]
    if as_json:
        show_json(rows)
        return
    table(
        ((row["name"], row["dns"], ", ".join(row["addresses"])) for row in rows),
        ("domain", "dns", "leads to"),
    )
    if not rows:
        say(f"No domains of its own. Add one: paas domains:add shop.example.com -a {app_name}")


@command("domains:add")
@app_option
@click.argument("name")
def add_domain(app_name: str, name: str) -> None:
    """Let an app answer at a host name of its own, or at all below one: *.example.com."""
    domain = current().api.post(path("apps", app_name, "domains"), {"hostname": name})
    say(f"{app_name} answers at {domain['hostname']} as soon as its DNS leads here.")


@command("domains:remove")
@app_option
@click.argument("name")
def remove_domain(app_name: str, name: str) -> None:
    """Let an app answer at a host name no more."""
    current().api.delete(path("apps", app_name, "domains", name))


COMMANDS = [ports, add_port, change_port, remove_port, domains, add_domain, remove_domain]
