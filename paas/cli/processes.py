"""run."""

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
import tty
from contextlib import suppress

import click

from paas.accounts.selectors import first_admin
from paas.cli.common import app_option, find_app
from paas.cli.machine import host_command
from paas.runs.services import attached_run
from runtime.engine.api import Attached
from runtime.errors import EngineError


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


COMMANDS = [run]
