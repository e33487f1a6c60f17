"""cleanup, cache:clear: give up what nobody will run again."""

from __future__ import annotations

import click
from paas_client.output import counted, table

from paas.cli.machine import host_command


@host_command("cleanup")
@click.option("--dry-run", is_flag=True, help="Only show which images would go.")
@click.option("--wait", default=60, show_default=True, help="Seconds to wait for running builds.")
def cleanup(dry_run: bool, wait: int) -> None:
    """Remove expired images and unused caches from registry and engine, as happens daily by itself."""
    from paas.accounts.selectors import first_admin
    from paas.convergence.cleanup import clean_up, expired_everywhere

    if dry_run:
        gone = expired_everywhere()
        table(
            ((each.app, each.digest[:19], f"{each.size_bytes / 1e6:.1f} MB", _versions(each.versions)) for each in gone),
            ("app", "image", "size", "of"),
        )
        click.echo(f"{counted(len(gone), 'image')} would go.", err=True)
        return
    click.echo("Cleaning up… ", nl=False, err=True)
    done = clean_up(by=first_admin(), wait_seconds=wait)
    click.echo(f"done in {done.seconds:.1f} s", err=True)
    click.echo(f"from the registry  {counted(done.images, 'image')}, {counted(done.cache_images, 'cache')}")
    click.echo(f"from the engine    {counted(done.engine_images, 'image')}")
    click.echo(f"freed              {done.freed_bytes / 1e6:.1f} MB")


def _versions(versions: tuple[int, ...]) -> str:
    shown = ", ".join(f"v{version}" for version in versions[:6])
    return shown + f" and {len(versions) - 6} more" * (len(versions) > 6) if versions else "no release"


@host_command("cache:clear")
def clear_cache() -> None:
    """Forget cached dependencies of all apps; the next builds make them anew."""
    from paas.convergence.cleanup import clear_caches

    click.echo(f"Dropped {clear_caches(wait_seconds=60)} cache entries.", err=True)


COMMANDS = [cleanup, clear_cache]
