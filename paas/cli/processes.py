"""ps:scale, run."""

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
from paas.cli.common import app_option, assignments, find_app
from paas.cli.machine import host_command
from paas.formation.selectors import formation
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


COMMANDS = [scale, run]
