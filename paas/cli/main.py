"""The command line's edge: failures become words and an exit code (1 theirs, 70 ours)."""

from __future__ import annotations

import logging
import os
import sys

import click
import structlog

from paas.cli import (
    apps,
    builds,
    cleanup,
    config,
    formation,
    host,
    logs,
    people,
    processes,
    releases,
    routing,
    secrets,
    status,
    tags,
)
from paas.core import audit
from runtime.errors import Failure, PlatformError

log = structlog.get_logger()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name=None, version="0.1.0", prog_name="paas")
def paas() -> None:
    """Push-to-deploy on this machine."""


for module in (
    apps,
    builds,
    cleanup,
    config,
    formation,
    host,
    logs,
    people,
    processes,
    releases,
    routing,
    secrets,
    status,
    tags,
):
    for command in module.COMMANDS:
        paas.add_command(command)


def main(arguments: list[str]) -> int:
    logging.getLogger().setLevel(logging.WARNING)
    try:
        with audit.through("cli"):
            result = paas.main(args=arguments, prog_name="paas", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.ClickException as exc:
        exc.show()
        return 1
    except (click.Abort, KeyboardInterrupt):
        click.echo(err=True)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Failure as exc:
        for text in (exc.message, exc.hint):
            for line in text.splitlines():
                click.echo(f" !     {line}", err=True)
        return 70 if isinstance(exc, PlatformError) else 1
