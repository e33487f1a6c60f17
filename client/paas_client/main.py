"""The command line's edge: commands are found and loaded; problems become words and an exit code."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from paas_client import __version__
from paas_client.errors import PlatformProblem, Problem
from paas_client.session import Session

# The module of each command. Only the one that is asked for is loaded.
MODULES: dict[str, tuple[str, ...]] = {
    "apps": (
        "apps", "apps:branch", "apps:create", "apps:destroy", "apps:rename", "apps:transfer", "maintenance:off",
        "maintenance:on",
    ),
    "audit": ("audit",),
    "builds": ("builds", "builds:cancel", "builds:output"),
    "completion": ("completion",),
    "config": (
        "config", "config:edit", "config:export", "config:get", "config:import", "config:set", "config:unset",
    ),
    "credentials": ("keys", "keys:add", "keys:remove", "tokens", "tokens:create", "tokens:revoke"),
    "deploy": ("deploy",),
    "formation": ("health", "health:set", "limits", "limits:set"),
    "hooks": (
        "drains", "drains:add", "drains:remove",
        "notifications", "notifications:add", "notifications:remove", "notifications:test",
        "webhooks", "webhooks:add", "webhooks:deliveries", "webhooks:deliveries:info", "webhooks:on",
        "webhooks:redeliver", "webhooks:remove", "webhooks:update",
    ),
    "login": ("login", "logout", "platforms", "platforms:use", "whoami"),
    "logs": ("logs",),
    "people": (
        "access", "access:add", "access:remove", "access:update",
        "users", "users:activate", "users:create", "users:deactivate", "users:invite",
    ),
    "pipelines": (
        "pipelines", "pipelines:add", "pipelines:create", "pipelines:destroy", "pipelines:info", "pipelines:promote",
        "pipelines:remove", "pipelines:rename", "pipelines:update",
    ),
    "processes": ("ps", "ps:restart", "ps:scale", "ps:start", "ps:stop"),
    "releases": ("releases", "releases:diff", "releases:info", "releases:pin", "releases:unpin", "rollback"),
    "remotes": ("git:credentials", "git:remote", "remote:add"),
    "routing": ("domains", "domains:add", "domains:remove", "ports", "ports:add", "ports:change", "ports:remove"),
    "run": ("run",),
    "tags": ("tags", "tags:add", "tags:protect", "tags:remove"),
}  # fmt: skip


def index(modules: Mapping[str, Sequence[str]], package: str) -> dict[str, str]:
    """Which module has the command of that name."""
    return {name: f"{package}.{module}" for module, names in modules.items() for name in names}


class Commands(click.Group):
    """Loads a command when it is asked for. `sources` are modules with `COMMANDS`, by command."""

    def __init__(self, *, sources: Mapping[str, str], **attributes: Any) -> None:
        super().__init__(**attributes)
        self.sources = dict(sources)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click gives it
        return sorted(self.sources)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        module = self.sources.get(cmd_name)
        if module is None:
            return None
        found: list[click.Command] = importlib.import_module(module).COMMANDS
        return next(command for command in found if command.name == cmd_name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.sources and not args[0].startswith("-"):
            raise click.UsageError(self.unknown(args), ctx)
        return super().resolve_command(ctx, args)

    def unknown(self, words: Sequence[str]) -> str:
        guesses = self.guesses(words)
        meant = f" Did you mean {' or '.join(guesses)}?" if guesses else " See: paas --help"
        return f"There is no command {words[0]!r}.{meant}"

    def guesses(self, words: Sequence[str]) -> list[str]:
        """`ps scale` and `scale` are `ps:scale`; a slip of the finger is what it is near to."""
        joined = ":".join(words[:2])
        if joined in self.sources:
            return [joined]
        ends = [name for name in self.sources if name.endswith(f":{words[0]}")]
        return ends[:3] or difflib.get_close_matches(words[0], self.sources, 3, 0.7)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        names = self.list_commands(ctx)
        room = formatter.width - 6 - max(map(len, names))
        rows = [(name, _short_help(self.get_command(ctx, name), room)) for name in names]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _short_help(command: click.Command | None, room: int) -> str:
    return command.get_short_help_str(room) if command else ""


def group(sources: Mapping[str, str], text: str) -> Commands:
    found = Commands(
        sources=sources,
        name="paas",
        help=text,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    return click.version_option(__version__, prog_name="paas")(found)


paas = group(index(MODULES, "paas_client.commands"), "Push-to-deploy on a machine of your own.")


def main(arguments: list[str], *, commands: click.Group = paas, session: Session | None = None) -> int:
    """0, 1 when the problem is yours, 70 when it is the platform's, 130 after Ctrl-C; or what a command says itself."""
    if "_PAAS_COMPLETE" in os.environ:
        from paas_client.commands.completion import install

        install()
    try:
        result = commands.main(
            args=arguments,
            prog_name="paas",
            standalone_mode=False,
            obj=session or Session(),
            complete_var="_PAAS_COMPLETE",
            color=False if os.environ.get("NO_COLOR") else None,
        )
        return result if isinstance(result, int) else 0
    except click.ClickException as exc:
        exc.show()
        words = [word for word in arguments if not word.startswith("-")][:2]
        if isinstance(commands, Commands) and len(words) == 2 and ":".join(words) in commands.sources:
            click.echo(f"Did you mean {':'.join(words)}?", err=True)
        return 1
    except (click.Abort, KeyboardInterrupt):
        click.echo(err=True)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Problem as exc:
        complain(exc)
        return exc.exit_code
    except OSError as exc:
        complain(PlatformProblem(f"{exc.strerror or exc}: {exc.filename}" if exc.filename else str(exc)))
        return 1


def complain(problem: Problem) -> None:
    for line in problem.lines():
        click.echo(f" !     {line}", err=True)


def run() -> None:
    sys.exit(main(sys.argv[1:]))
