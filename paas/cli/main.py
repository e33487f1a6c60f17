"""All commands of the machine: those of the API, by root's own door, and those that need none."""

from __future__ import annotations

import click
from paas_client import main as client
from paas_client.errors import UserProblem
from paas_client.session import Session

from paas import env as environment
from paas.cli.local import LocalDoor, is_ours
from paas.cli.machine import platform_code

MODULES: dict[str, tuple[str, ...]] = {
    "cleanup": ("cleanup", "cache:clear"),
    "heroku": ("heroku-env",),
    "host": ("host",),
    "recovery": ("users:password", "users:two-factor-off"),
    "secrets": ("secrets:rotate",),
    "status": ("host:status",),
}

# Not moved to the API yet: these load the platform's code.
SERVICES: dict[str, tuple[str, ...]] = {
    "processes": ("run",),
}  # fmt: skip


class Commands(client.Commands):
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if self.sources.get(cmd_name, "").removeprefix("paas.cli.") not in SERVICES:
            return super().get_command(ctx, cmd_name)
        with platform_code():
            return super().get_command(ctx, cmd_name)


paas = client.group(
    {**client.index(client.MODULES, "paas_client.commands"), **client.index({**SERVICES, **MODULES}, "paas.cli")},
    "Push-to-deploy on this machine.",
    kind=Commands,
)


def main(arguments: list[str]) -> int:
    try:
        env = environment.load()
    except environment.BadEnvironment as exc:
        client.complain(UserProblem(str(exc)))
        return 1
    door = LocalDoor(env) if is_ours(env) else None
    return client.main(arguments, commands=paas, session=Session(door))
