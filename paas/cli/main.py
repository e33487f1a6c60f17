"""All commands of the machine: those of the API, by root's own door, and those that need none."""

from __future__ import annotations

from paas_client import main as client
from paas_client.errors import UserProblem
from paas_client.session import Session

from paas import env as environment
from paas.cli.local import LocalDoor, is_ours

MODULES: dict[str, tuple[str, ...]] = {
    "cleanup": ("cleanup", "cache:clear"),
    "heroku": ("heroku-env",),
    "host": ("host",),
    "recovery": ("users:password", "users:two-factor-off"),
    "secrets": ("secrets:rotate",),
    "status": ("host:status",),
}

paas = client.group(
    {**client.index(client.MODULES, "paas_client.commands"), **client.index(MODULES, "paas.cli")},
    "Push-to-deploy on this machine.",
)


def main(arguments: list[str]) -> int:
    try:
        env = environment.load()
    except environment.BadEnvironment as exc:
        client.complain(UserProblem(str(exc)))
        return 1
    door = LocalDoor(env) if is_ours(env) else None
    return client.main(arguments, commands=paas, session=Session(door))
