"""ps:stop, ps:start, limits, health: how big instances are, and how one tells that they are well."""

from __future__ import annotations

import click

from paas.accounts.selectors import first_admin
from paas.apps import services as apps
from paas.cli.common import app_option, find_app, json_option, show_json, table
from paas.cli.machine import host_command
from paas.cli.processes import wait_until_observed
from paas.cli.releases import wait_for_release
from paas.convergence.spec import effective_health
from paas.formation.selectors import formation
from paas.formation.services import health_text, set_health, set_limits
from paas.formation.sizes import memory_text, parse_memory
from paas.releases.models import Release
from paas.releases.selectors import wished_release
from runtime.errors import InvalidInput
from runtime.reconcile.spec import CheckKind


def _show(release: Release | None) -> None:
    if release is None:
        click.echo("Nothing changes.", err=True)
    else:
        wait_for_release(release)


@host_command("ps:stop")
@app_option
def stop(app_name: str) -> None:
    """Stop everything of the app; it stays stopped, also after deploys, until ps:start."""
    app = find_app(app_name)
    if apps.stop_app(app, by=first_admin()):
        wait_until_observed(app, f"Stopping {app_name}")
    else:
        click.echo(f"{app_name} is stopped already.", err=True)


@host_command("ps:start")
@app_option
def start(app_name: str) -> None:
    """Start a stopped app as it was scaled."""
    app = find_app(app_name)
    if apps.start_app(app, by=first_admin()):
        wait_until_observed(app, f"Starting {app_name}")
    else:
        click.echo(f"{app_name} is not stopped.", err=True)


@host_command("limits")
@app_option
@json_option
def limits(app_name: str, as_json: bool) -> None:
    """Show what each instance may take."""
    app = find_app(app_name)
    processes = formation(app)
    if as_json:
        show_json(
            {each.process: {"memory_bytes": each.memory_bytes, "cpu_shares": each.cpu_shares} for each in processes}
        )
        return
    table(
        ((each.process, memory_text(each.memory_bytes), each.cpu_shares) for each in processes),
        ("process type", "memory", "CPU shares"),
    )


@host_command("limits:set")
@app_option
@click.argument("process", metavar="TYPE")
@click.option("--memory", help="Of each instance: 512M, 1.5G, unlimited, or default.")
@click.option("--cpu-shares", help="Its weight when the CPU is scarce: 1024 is one share; or default.")
@click.option("--why", default="", help="Kept with the release.")
def limits_set(app_name: str, process: str, memory: str | None, cpu_shares: str | None, why: str) -> None:
    """Limit what each instance of a process type may take. Makes a release."""
    app = find_app(app_name)
    change: dict[str, int | None] = {}
    if memory is not None:
        change["memory_bytes"] = None if memory == "default" else parse_memory(memory)
    if cpu_shares is not None:
        if cpu_shares != "default" and not (cpu_shares.isascii() and cpu_shares.isdigit()):
            raise InvalidInput(f"{cpu_shares!r} is no number of CPU shares.", id="invalid_limit")
        change["cpu_shares"] = None if cpu_shares == "default" else int(cpu_shares)
    if not change:
        raise click.UsageError("Give --memory, --cpu-shares, or both.")
    _show(set_limits(app, {process: change}, by=first_admin(), why=why))


@host_command("health")
@app_option
@json_option
def health(app_name: str, as_json: bool) -> None:
    """Show how a new instance's health is told, and who says so."""
    app = find_app(app_name)
    release = wished_release(app)
    checks = {each.process: effective_health(release, each.process) for each in formation(app)} if release else {}
    if as_json:
        show_json({process: {**check.values, "source": check.source} for process, check in checks.items()})
        return
    table(
        ((process, health_text(check.values), check.source) for process, check in checks.items()),
        ("process type", "well when it answers, or is", "set by"),
    )


@host_command("health:set")
@app_option
@click.argument("process", metavar="TYPE")
@click.option(
    "--kind", type=click.Choice([kind.value for kind in CheckKind]), help="http asks for a path, tcp for a connection."
)
@click.option("--path", help="For http: what to ask for. 200 to 399 is well.")
@click.option("--port", help="For http and tcp: another port than the one that gets requests.")
@click.option("--timeout", "timeout_seconds", help="Seconds that one attempt may take.")
@click.option("--start", "start_seconds", help="Seconds after which an instance that is not well has failed.")
@click.option("--uptime", "uptime_seconds", help="For uptime: seconds it has to stay up.")
@click.option("--default", "takes_back", is_flag=True, help="Back to what the code asks for.")
@click.option("--why", default="", help="Kept with the release.")
def health_set(app_name: str, process: str, takes_back: bool, why: str, **given: str | None) -> None:
    """Say how the health of a process type is told, whatever the code asks for. Makes a release."""
    app = find_app(app_name)
    if not takes_back and given["kind"] is None:
        raise click.UsageError("Give --kind, or --default.")
    _show(set_health(app, process, None if takes_back else given, by=first_admin(), why=why))


COMMANDS = [stop, start, limits, limits_set, health, health_set]
