"""limits, health: how big instances are, and how one tells that they are well."""

from __future__ import annotations

import click

from paas_client.api import Record, compact, path
from paas_client.errors import UserProblem
from paas_client.options import app_option, command, json_option
from paas_client.output import show_json, table
from paas_client.session import current
from paas_client.waiting import wait_for_release

KINDS = ("tcp", "http", "uptime", "image")


@command("limits")
@app_option
@json_option
def limits(app_name: str, as_json: bool) -> None:
    """Show what each instance may take."""
    found = current().api.list(path("apps", app_name, "limits"))
    if as_json:
        show_json({each["process"]: {name: each[name] for name in ("memory_bytes", "cpu_shares")} for each in found})
        return
    table(
        ((each["process"], memory_text(each["memory_bytes"]), each["cpu_shares"]) for each in found),
        ("process type", "memory", "CPU shares"),
    )


def memory_text(size: int) -> str:
    """`512 MiB`, `1.5 GiB`; `unlimited` for 0."""
    if not size:
        return "unlimited"
    for factor, unit in ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
        if size >= factor:
            return f"{size / factor:.2f}".rstrip("0").rstrip(".") + f" {unit}"
    return f"{size} bytes"


@command("limits:set")
@app_option
@click.argument("process", metavar="TYPE")
@click.option("--memory", help="Of each instance: 512M, 1.5G, unlimited, or default.")
@click.option("--cpu-shares", help="Its weight when the CPU is scarce: 1024 is one share; or default.")
@click.option("--why", default="", help="Kept with the release.")
def limits_set(app_name: str, process: str, memory: str | None, cpu_shares: str | None, why: str) -> None:
    """Limit what each instance of a process type may take. Makes a release."""
    change: Record = {}
    if memory is not None:
        change["memory"] = None if memory == "default" else memory
    if cpu_shares is not None:
        if cpu_shares != "default" and not (cpu_shares.isascii() and cpu_shares.isdigit()):
            raise UserProblem(f"{cpu_shares!r} is no number of CPU shares.", id="invalid_limit")
        change["cpu_shares"] = None if cpu_shares == "default" else int(cpu_shares)
    if not change:
        raise click.UsageError("Give --memory, --cpu-shares, or both.")
    api = current().api
    wait_for_release(
        api, app_name, api.patch(path("apps", app_name, "limits", process), {**change, "why": why})["release"]
    )


@command("health")
@app_option
@json_option
def health(app_name: str, as_json: bool) -> None:
    """Show how a new instance's health is told, and who says so."""
    found = current().api.list(path("apps", app_name, "health-checks"))
    if as_json:
        kept = {each["process"]: {k: v for k, v in each.items() if k not in ("process", "words")} for each in found}
        show_json({process: compact(check) for process, check in kept.items()})
        return
    table(
        ((each["process"], each["words"], each["source"]) for each in found),
        ("process type", "well when it answers, or is", "set by"),
    )


@command("health:set")
@app_option
@click.argument("process", metavar="TYPE")
@click.option("--kind", type=click.Choice(KINDS), help="http asks for a path, tcp for a connection.")
@click.option("--path", "page", help="For http: what to ask for. 200 to 399 is well.")
@click.option("--port", help="For http and tcp: another port than the one that gets requests.")
@click.option("--timeout", "timeout_seconds", help="Seconds that one attempt may take.")
@click.option("--start", "start_seconds", help="Seconds after which an instance that is not well has failed.")
@click.option("--uptime", "uptime_seconds", help="For uptime: seconds it has to stay up.")
@click.option("--default", "takes_back", is_flag=True, help="Back to what the code asks for.")
@click.option("--why", default="", help="Kept with the release.")
def health_set(app_name: str, process: str, takes_back: bool, why: str, page: str | None, **given: str | None) -> None:
    """Say how the health of a process type is told, whatever the code asks for. Makes a release."""
    if not takes_back and given["kind"] is None:
        raise click.UsageError("Give --kind, or --default.")
    api, address = current().api, path("apps", app_name, "health-checks", process)
    body = {**compact({**given, "path": page}), "why": why}
    answer = api.delete(address) if takes_back else api.put(address, body)
    wait_for_release(api, app_name, answer["release"])


COMMANDS = [limits, limits_set, health, health_set]
