"""host:status."""

from __future__ import annotations

from dataclasses import asdict

import click
from paas_client.options import json_option
from paas_client.output import show_json, table

from paas.cli.machine import host_command


@host_command("host:status")
@json_option
def status(as_json: bool) -> int:
    """Tell how every part of the platform is, what waits, what takes memory and disk. Exits with 1 when one is ill."""
    from paas.formation.sizes import memory_text
    from paas.machine import selectors
    from paas.machine.measure import measured
    from paas.machine.processes import platform_processes

    parts = selectors.parts()
    processes = platform_processes()
    queues = selectors.queues()
    sweep = selectors.last_sweep()
    storage = measured()
    code = 1 if any(part.problem for part in parts) else 0
    if as_json:
        show_json(
            {
                "parts": {part.name: part.problem or None for part in parts},
                "processes": {each.name: each.memory_bytes for each in processes},
                "queues": {
                    each.name: {"waiting": each.waiting, "oldest_seconds": each.oldest_seconds} for each in queues
                },
                "last_sweep": sweep.at.isoformat() if sweep else None,
                "storage": asdict(storage) if storage else None,
            }
        )
        return code
    table(((part.name, part.problem or "well", part.hint) for part in parts), ("part", "state", "what to do"))
    click.echo()
    table(((each.name, memory_text(each.memory_bytes)) for each in processes), ("process", "memory"))
    click.echo()
    for queue in queues:
        late = f", the oldest for {queue.oldest_seconds:.0f} s" if queue.oldest_seconds is not None else ""
        click.echo(f"queue {queue.name}: {queue.waiting} waiting{late}")
    for build in selectors.running_builds():
        click.echo(f"build {build.app.name} {build.number}: {build.status}")
    if sweep:
        click.echo(f"last sweep: {sweep.at:%Y-%m-%d %H:%M:%S} UTC, {sweep.seconds:.2f} s")
    if storage:
        click.echo("disk: " + ", ".join(f"{kind} {memory_text(size)}" for kind, size in storage.kinds.items()))
    return code


COMMANDS = [status]
