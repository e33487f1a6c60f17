"""secrets:rotate."""

from __future__ import annotations

import click

from paas.cli.machine import host_command


@host_command("secrets:rotate")
def rotate() -> None:
    """Give everything encrypted a new key, while the platform runs; called again, it goes on where it was stopped."""
    from paas.accounts.selectors import first_admin
    from paas.core.rotation import SETTLE_SECONDS, rotate_keys

    def report(what: str, count: int) -> None:
        click.echo(f"       {what}: {count:,}" if count else f"       {what}", err=True)

    click.echo(f"-----> Rotating the key (takes at least {SETTLE_SECONDS:.0f} s)", err=True)
    done = rotate_keys(by=first_admin(), report=report)
    if done.was_resumed:
        click.echo("       An earlier rotation had been stopped: it is finished now.", err=True)
    click.echo(
        f"       Done: {done.values:,} values and {done.sessions:,} sessions have the new key; the old one is gone.\n"
        "       Make a new backup of PAAS_HOME, secret.key included. An older backup opens with the key inside it only.",
        err=True,
    )


COMMANDS = [rotate]
