"""ps, ps:scale, ps:restart, run."""

from __future__ import annotations

import fcntl
import os
import select
import shlex
import signal
import struct
import sys
import termios
import threading
import time
import tty
from contextlib import suppress

import click

from paas.accounts.selectors import first_admin
from paas.apps.models import App
from paas.cli.common import app_option, assignments, find_app, json_option, show_json, table
from paas.cli.machine import host_command
from paas.formation.selectors import formation
from paas.formation.services import restart as restart_instances
from paas.formation.services import scale as scale_app
from paas.runs.services import attached_run
from runtime.engine.api import Attached
from runtime.errors import EngineError, InvalidInput, PlatformError


def wait_until_observed(app: App, what: str) -> None:
    """Until convergence has brought the engine up to what was wished."""
    app.refresh_from_db()
    wish, deadline = app.generation, time.monotonic() + 120
    click.echo(f"{what}… ", nl=False, err=True)
    while app.observed_generation < wish:
        if time.monotonic() > deadline:
            raise PlatformError("It is not done after two minutes.", hint=f"See: paas ps -a {app.name}")
        time.sleep(0.05)
        app.refresh_from_db()
    click.echo("done", err=True)


@host_command("ps")
@app_option
@json_option
def ps(app_name: str, as_json: bool) -> None:
    """List the instances."""
    app = find_app(app_name)
    instances = app.instances.all()
    if as_json:
        show_json(
            [
                {
                    "name": str(instance),
                    "process": instance.process,
                    "index": instance.index,
                    "state": instance.state,
                    "release": instance.release_version,
                    "container": instance.container_id,
                    "address": instance.address,
                    "since": instance.since,
                    "crashes": instance.crashes,
                    "reason": instance.reason or None,
                }
                for instance in instances
            ]
        )
        return
    commands = {process.process: process for process in formation(app)}
    table(
        (
            (
                instance,
                instance.state,
                f"v{instance.release_version}",
                instance.since,
                instance.reason or (commands[instance.process].command if instance.process in commands else ""),
            )
            for instance in instances
        ),
        ("instance", "state", "release", "since (UTC)", "command or reason"),
    )
    if not instances:
        click.echo("Nothing runs.", err=True)


@host_command("ps:scale")
@app_option
@click.argument("pairs", nargs=-1, metavar="TYPE=QUANTITY...")
def scale(app_name: str, pairs: tuple[str, ...]) -> None:
    """Set how many instances run of each process type; without arguments, show it."""
    app = find_app(app_name)
    if not pairs:
        for process in formation(app):
            click.echo(f"{process.process}={process.quantity}")
        return
    given = assignments(pairs)
    for name, text in given.items():
        if not text.isdigit():
            raise InvalidInput(f"{name}={text}: {text!r} is not a number.", id="invalid_quantity")
    if scale_app(app, {process: int(text) for process, text in given.items()}, by=first_admin()):
        wait_until_observed(app, f"Scaling {', '.join(f'{p} to {n}' for p, n in given.items())}")
    else:
        click.echo("Nothing changes.", err=True)


@host_command("ps:restart")
@app_option
@click.argument("target", default="", metavar="[TYPE|INSTANCE]")
def restart(app_name: str, target: str) -> None:
    """Replace every instance by a new one, or those of a type (web), or one (web.1), without a gap."""
    app = find_app(app_name)
    restart_instances(app, by=first_admin(), target=target)
    wait_until_observed(app, f"Restarting {target or app_name}")


@host_command("run", context_settings={"ignore_unknown_options": True})
@app_option
@click.option("--no-tty", is_flag=True, help="Pipes instead of a terminal, even in one.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(app_name: str, no_tty: bool, command: tuple[str, ...]) -> int:
    """Run a command in a container of the current release; exits with its status."""
    app = find_app(app_name)
    for number in (signal.SIGHUP, signal.SIGTERM):  # the container has to go, also when the terminal is closed
        signal.signal(number, lambda signum, _frame: sys.exit(128 + signum))
    terminal = sys.stdin.isatty() and sys.stdout.isatty() and not no_tty
    with attached_run(app, shlex.join(command), by=first_admin(), terminal=terminal) as session:
        _converse(session.attached, terminal)
        return session.wait()


def _converse(attached: Attached, terminal: bool) -> None:
    """stdin to the container, what it writes to stdout and stderr, until it ends."""
    stdin = sys.stdin.fileno()
    before = termios.tcgetattr(stdin) if terminal else None
    if terminal:
        tty.setraw(stdin)
        _resize(attached)
        signal.signal(signal.SIGWINCH, lambda *_: _resize(attached))
    threading.Thread(target=_send_input, args=(attached, stdin), daemon=True).start()
    try:
        while True:
            stream, data = attached.receive()
            if not data:
                return
            out = sys.stderr.buffer if stream == "stderr" else sys.stdout.buffer
            out.write(data)
            out.flush()
    finally:
        if before is not None:
            termios.tcsetattr(stdin, termios.TCSADRAIN, before)


def _send_input(attached: Attached, stdin: int) -> None:
    with suppress(OSError, EngineError):
        while True:
            select.select([stdin], [], [])
            data = os.read(stdin, 65536)
            if not data:
                attached.close_stdin()
                return
            attached.send(data)


def _resize(attached: Attached) -> None:
    with suppress(OSError, EngineError):
        rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(sys.stdin.fileno(), termios.TIOCGWINSZ, b"\0" * 8))
        attached.resize(rows, columns)


COMMANDS = [ps, scale, restart, run]
