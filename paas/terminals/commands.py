"""What people without any command line of ours may say: `ssh git@… apps`, `logs`, `ps`, `releases`, `run`, `help`."""

from __future__ import annotations

import asyncio
import re
import shlex
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import click
from django.db import connection

from paas.accounts.models import User
from paas.apps.models import App, Role
from paas.apps.selectors import apps_visible_to, get_app, url
from paas.core.text import columns
from paas.formation.selectors import formation
from paas.logs.selectors import app_log, log_filter
from paas.runs.services import Wishes, attached_run
from paas.terminals.conversation import converse
from paas.terminals.ssh import Request
from paas.terminals.threads import Threads
from runtime.errors import Conflict, InvalidInput
from runtime.logs.read import AppLogReader, Filter
from runtime.logs.record import Line as LogLine
from runtime.logs.record import Source

LOOK_SECONDS = 0.2
LOOK_AGAIN_SECONDS = 15.0  # at whether somebody may still see what they see
MOST_LINES = 1500
INTERRUPT = b"\x03"
END_OF_INPUT = b"\x04"
INTERRUPTED = 130
TERMINAL = re.compile(r"[A-Za-z0-9._+-]{1,40}")

HELP = """\
Commands:
  apps                                  your apps
  ps -a APP                             its instances
  releases -a APP [-n NUMBER]           its releases
  logs -a APP [-t] [-n NUMBER] [-p TYPE] [--source app|router|platform]
                                        what it said; -t goes on with what comes
  run -a APP COMMAND                    a command in a container of the current release;
                                        with a terminal: ssh -t
  help                                  this

git push, fetch and clone work with the address of an app: ssh://…/APP.git"""


@dataclass(frozen=True, slots=True)
class Pools:
    calls: Threads  # short ones
    runs: Threads  # one for each terminal


class Commands:
    """Of one person, on one line."""

    def __init__(self, user: User, request: Request, pools: Pools) -> None:
        self.user, self.request, self.pools = user, request, pools
        self.line = request.line
        self._end = "\r\n" if request.terminal is not None else "\n"

    async def run(self) -> int:
        """Raises a `UserError`."""
        name, arguments = _words(self.request.command)
        commands: dict[str, Callable[[list[str]], Awaitable[int]]] = {
            "apps": self._apps,
            "ps": self._ps,
            "releases": self._releases,
            "logs": self._logs,
            "run": self._run,
            "help": self._help,
        }
        if not name:
            await self._tell([f"Hello {self.user.email}. There is no shell here.", "", *HELP.splitlines()], is_error=True)
            return 1
        if name not in commands:
            raise InvalidInput(
                f"There is no command {name[:40]!r}.",
                hint="See what there is with the command: help",
                id="unknown_command",
            )
        return await commands[name](arguments)

    async def _tell(self, lines: Iterable[str], *, is_error: bool = False) -> None:
        text = "".join(f"{line}{self._end}" for line in lines)
        if text:
            await self.line.say(text.encode("utf-8", "replace"), is_error=is_error)

    async def _show(self, otherwise: str, table: Callable[..., list[str]], *of: object) -> int:
        lines = await self.pools.calls.run(table, self.user, *of)
        await self._tell(lines or [otherwise], is_error=not lines)
        return 0

    async def _help(self, _: list[str]) -> int:
        await self._tell(HELP.splitlines())
        return 0

    async def _apps(self, arguments: list[str]) -> int:
        _options("apps", arguments)
        return await self._show("No apps yet. Push one.", apps_table)

    async def _ps(self, arguments: list[str]) -> int:
        given = _options("ps", arguments, _APP)
        return await self._show("Nothing runs.", ps_table, given["app"])

    async def _releases(self, arguments: list[str]) -> int:
        given = _options("releases", arguments, _APP, _number(15))
        return await self._show("No releases yet. Push some code.", releases_table, given["app"], given["num"])

    # logs

    async def _logs(self, arguments: list[str]) -> int:
        given = _options(
            "logs",
            arguments,
            _APP,
            _number(100),
            click.Option(["-t", "--tail"], is_flag=True),
            click.Option(["-p", "--process"], default=""),
            click.Option(["--source"], type=click.Choice([source.value for source in Source])),
        )

        def find() -> tuple[AppLogReader, Filter]:
            app = get_app(self.user, given["app"])
            return app_log(app), log_filter(app, self.user, source=given["source"] or "", process=given["process"])

        reader, wanted = await self.pools.calls.run(find)
        position = reader.end()
        page = await self.pools.calls.run(reader.newest, wanted, given["num"], before=position)
        await self._tell(map(self._log_line, page.lines))
        if not given["tail"]:
            return 0
        leaving = asyncio.create_task(self._leaves())
        try:
            looked_at = time.monotonic()
            while not leaving.done():
                if position != reader.end():
                    lines, position = await self.pools.calls.run(reader.after, position, wanted, 1000)
                    await self._tell(map(self._log_line, lines))
                if time.monotonic() - looked_at > LOOK_AGAIN_SECONDS:
                    looked_at = time.monotonic()
                    _, wanted = await self.pools.calls.run(find)
                await asyncio.wait({leaving}, timeout=LOOK_SECONDS)
        finally:
            leaving.cancel()
        return INTERRUPTED

    def _log_line(self, line: LogLine) -> str:
        return f"{line.stamp} {line.label}: {line.text if self.request.terminal is not None else line.plain}"

    async def _leaves(self) -> None:
        """Until somebody presses Ctrl-C or goes away. Without a terminal the end of the input means nothing."""
        has_terminal = self.request.terminal is not None
        while data := await self.line.read():
            if has_terminal and (INTERRUPT in data or END_OF_INPUT in data):
                return
        if not has_terminal:
            await self.line.gone.wait()

    # run

    async def _run(self, arguments: list[str]) -> int:
        given = _options("run", arguments, _APP, click.Argument(["command"], nargs=-1, type=click.UNPROCESSED))
        words: Sequence[str] = given["command"]
        if self.pools.runs.is_full:
            raise Conflict(
                "All terminals of this platform are in use.", hint="Try again in a moment.", id="too_many_runs"
            )
        # One word is a line for the shell; several are a program and its arguments.
        command = words[0] if len(words) == 1 else shlex.join(words)
        return await self.pools.runs.run(self._run_attached, given["app"], command)

    def _run_attached(self, name: str, command: str) -> int:
        app = get_app(self.user, name, Role.DEVELOPER)
        kind = self.request.terminal
        environment = {"TERM": kind} if kind and TERMINAL.fullmatch(kind) else {}
        with attached_run(
            app,
            command,
            by=self.user,
            terminal=kind is not None,
            window=self.line.window,
            wishes=Wishes(environment),
        ) as session:
            connection.close()  # for as long as it goes on
            return converse(session, self.line)


def apps_table(user: User) -> list[str]:
    apps = apps_visible_to(user).select_related("current_release").order_by("name")
    return columns(
        ((app.name, f"v{app.current_release.version}" if app.current_release else "–", url(app)) for app in apps),
        ("app", "release", "address"),
    )


def ps_table(user: User, name: str) -> list[str]:
    app = get_app(user, name)
    commands = {process.process: process.command for process in formation(app)}
    return columns(
        (
            (each, each.state, f"v{each.release_version}", each.since, each.reason or commands.get(each.process, ""))
            for each in app.instances.all()
        ),
        ("instance", "state", "release", "since (UTC)", "command or reason"),
    )


def releases_table(user: User, name: str, number: int) -> list[str]:
    app: App = get_app(user, name)
    return columns(
        (
            (
                f"v{release.version}",
                "current" if release.pk == app.current_release_id else release.status,
                release.description[:60],
                release.created_by.email if release.created_by else "",
                release.created_at,
            )
            for release in app.releases.select_related("created_by")[:number]
        ),
        ("release", "state", "what", "by", "at (UTC)"),
    )


_APP = click.Option(["-a", "--app"], required=True)


def _number(default: int) -> click.Option:
    return click.Option(["-n", "--num"], type=click.IntRange(0, MOST_LINES), default=default)


def _words(command: str) -> tuple[str, list[str]]:
    try:
        words = shlex.split(command)
    except ValueError as exc:
        raise InvalidInput(f"The command can't be read: {exc}.", id="invalid_command") from exc
    return (words[0], words[1:]) if words else ("", [])


def _options(name: str, arguments: list[str], *parameters: click.Parameter) -> dict[str, Any]:
    """What was given. Raises `InvalidInput`."""
    # Behind the first word of a command to run, options are that command's.
    settings = {"allow_interspersed_args": False, "ignore_unknown_options": name == "run"}
    command = click.Command(name, context_settings=settings, params=list(parameters), add_help_option=False)
    try:
        with command.make_context(name, arguments) as context:
            return dict(context.params)
    except click.ClickException as exc:
        raise InvalidInput(exc.format_message(), hint="See what there is with the command: help", id="usage") from exc
