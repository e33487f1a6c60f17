"""run: a command in a container, with this terminal."""

from __future__ import annotations

import os
import shlex
import shutil
import sys

import click

from paas_client.api import path
from paas_client.errors import PlatformProblem
from paas_client.options import app_option, command
from paas_client.session import current
from paas_client.waiting import looks

END_SECONDS = 30
TAKEN_ALONG = ("TERM", "COLORTERM", "LANG")


@command("run", context_settings={"ignore_unknown_options": True})
@app_option
@click.option("--no-tty", is_flag=True, help="Pipes instead of a terminal, even in one.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(app_name: str, no_tty: bool, command: tuple[str, ...]) -> int:
    """Run a command in a container of the current release; exits with its status."""
    from paas_client.rendezvous import converse, meet

    session = current()
    terminal = sys.stdin.isatty() and sys.stdout.isatty() and not no_tty
    environment = {name: os.environ[name] for name in TAKEN_ALONG if name in os.environ}
    if terminal:
        columns, lines = shutil.get_terminal_size()
        environment |= {"COLUMNS": str(columns), "LINES": str(lines)}
    wish = {
        "attach": True,
        "command": shlex.join(command),
        "env": environment if terminal else {},
        "force_no_tty": not terminal,
    }
    dyno = session.api.post(path("apps", app_name, "dynos"), wish)
    with meet(dyno["attach_url"], session.door.trust()) as connection:
        converse(connection, terminal=terminal)
    number = dyno["name"].rpartition(".")[2]
    for _ in looks(END_SECONDS):
        ended = session.api.get(path("apps", app_name, "runs", number))
        if ended["exit_code"] is not None:
            return int(ended["exit_code"])
        if ended["status"] not in ("pending", "running"):
            raise PlatformProblem(ended["reason"] or f"The run {ended['status']}.", id="run_failed")
    raise PlatformProblem(
        "The command ended, but nobody saw how.", hint=f"See: paas logs -a {app_name} -p {dyno['name']}"
    )


COMMANDS = [run]
