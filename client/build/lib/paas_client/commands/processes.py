"""ps and what is done with instances."""

from __future__ import annotations

import click

from paas_client.api import path
from paas_client.errors import UserProblem
from paas_client.options import app_option, command, json_option
from paas_client.output import assignments, at, say, show, show_json, table
from paas_client.session import current
from paas_client.waiting import wait_until_observed


@command("ps")
@app_option
@json_option
def ps(app_name: str, as_json: bool) -> None:
    """List the instances."""
    instances = current().api.list(path("apps", app_name, "instances"))
    if as_json:
        show_json(instances)
        return
    table(
        (
            (
                instance["name"],
                instance["state"],
                f"v{instance['release']}",
                at(instance["since"]),
                instance["reason"] or instance["command"],
            )
            for instance in instances
        ),
        ("instance", "state", "release", "since (UTC)", "command or reason"),
    )
    if not instances:
        say("Nothing runs.")


@command("ps:scale")
@app_option
@click.argument("pairs", nargs=-1, metavar="TYPE=QUANTITY...")
def scale(app_name: str, pairs: tuple[str, ...]) -> None:
    """Set how many instances run of each process type; without arguments, show it."""
    api, address = current().api, path("apps", app_name, "formation")
    before = {each["type"]: each["quantity"] for each in api.list(address)}
    if not pairs:
        for process, quantity in before.items():
            show(f"{process}={quantity}")
        return
    given = assignments(pairs)
    for name, text in given.items():
        if not (text.isascii() and text.isdigit()):
            raise UserProblem(f"{name}={text}: {text!r} is not a number.", id="invalid_quantity")
    updates = [{"type": process, "quantity": int(text)} for process, text in given.items()]
    api.patch(address, {"updates": updates})
    if any(before.get(process) != int(text) for process, text in given.items()):
        wait_until_observed(api, app_name, f"Scaling {', '.join(f'{p} to {n}' for p, n in given.items())}")
    else:
        say("Nothing changes.")


@command("ps:restart")
@app_option
@click.argument("target", default="", metavar="[TYPE|INSTANCE]")
def restart(app_name: str, target: str) -> None:
    """Replace every instance by a new one, or those of a type (web), or one (web.1), without a gap."""
    api = current().api
    api.post(path("apps", app_name, "restart"), {"target": target} if target else {})
    wait_until_observed(api, app_name, f"Restarting {target or app_name}")


@command("ps:stop")
@app_option
def stop(app_name: str) -> None:
    """Stop everything of the app; it stays stopped, also after deploys, until ps:start."""
    api = current().api
    if api.post(path("apps", app_name, "stop"))["changed"]:
        wait_until_observed(api, app_name, f"Stopping {app_name}")
    else:
        say(f"{app_name} is stopped already.")


@command("ps:start")
@app_option
def start(app_name: str) -> None:
    """Start a stopped app as it was scaled."""
    api = current().api
    if api.post(path("apps", app_name, "start"))["changed"]:
        wait_until_observed(api, app_name, f"Starting {app_name}")
    else:
        say(f"{app_name} is not stopped.")


COMMANDS = [ps, scale, restart, stop, start]
