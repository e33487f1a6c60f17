"""`python -m paas.host.run`: the supervisor. honcho runs the Procfile, with four changes.

A process that ends is started again, with a back-off, instead of taking all others with it. Threads read the output
instead of forked interpreters (26 MB less). At the end the stores stop last, so that nobody loses them while finishing.
Lines that start Python are forked from one parent that has loaded everything (`paas.host.forkserver`).
Nothing of Django is imported here: this process lives as long as the platform.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from honcho import manager as honcho_manager
from honcho.environ import parse_procfile
from honcho.manager import Manager
from honcho.printer import Printer
from honcho.process import Process

from paas.core.processes import AlreadyRunning, Lock, Sessions, end
from paas.host.forkserver import ForkedProcess, python_words

ROOT = Path(__file__).resolve().parent.parent.parent
STORES = ("redis", "registry")
FORK_SERVER = "forkserver"
LONGEST_BACK_OFF = 30.0
LASTED = 30.0  # seconds after which a start counts as a success
# The registry calls it an error when it is asked for what it does not have, and a danger when somebody comes without a
# token: every push begins with both.
REGISTRY_NOISE = (b"http.response.status=404", b"authorization token required")
LOG_BYTES = 20 * 1024 * 1024

honcho_manager.KILL_WAIT = 25


def back_off(failures: int) -> float:
    """Seconds to wait before the next start."""
    return min(LONGEST_BACK_OFF, 0.25 * 2.0**failures)


class Log:
    """A text stream into a file that is renamed to `.1` when it has grown."""

    def __init__(self, file: Path, limit: int = LOG_BYTES) -> None:
        self._file, self._limit = file, limit
        self._stream: TextIO = file.open("a")

    def write(self, text: str) -> int:
        with suppress(OSError):  # a full disk must not take the router down
            if self._stream.tell() > self._limit:
                self._stream.close()
                self._file.replace(self._file.with_suffix(self._file.suffix + ".1"))
                self._stream = self._file.open("a")
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def isatty(self) -> bool:
        return False


class KeptProcess(Process):  # type: ignore[misc]  # honcho has no types
    """Starts its command again until `stopping` is set."""

    stopping: threading.Event
    sessions: Sessions
    words: list[str]  # of Python, to be forked; empty: the command starts a program
    server: Path

    def run(self, events: Any = None, *_: Any) -> None:
        self._events = events
        failures = 0
        while True:
            began = time.monotonic()
            self._child = self._start()
            self.sessions.add(self.name, self._child.pid)
            self._send_message({"pid": self._child.pid}, type="start")
            if self.stopping.is_set():  # told to stop while it was being started
                self._signal_group(self._child.pid, signal.SIGTERM)
            reader = threading.Thread(target=self._relay, args=(self._child.stdout,), daemon=True)
            reader.start()
            # Not the end of its output: a child that outlives its parent keeps that open.
            self._child.wait()
            if self.stopping.is_set():
                reader.join(timeout=1)
                break
            failures = 0 if time.monotonic() - began > LASTED else failures + 1
            seconds = back_off(failures)
            self._send_message(f"ended with {self._child.returncode}; starting it again in {seconds:.1f} s\n".encode())
            # Workers of a master that died hold its sockets: nginx could not start again. QUIT lets them finish.
            self._signal_group(self._child.pid, signal.SIGQUIT)
            if self.stopping.wait(seconds):
                break
        self._send_message({"returncode": 0}, type="stop")

    def _start(self) -> Any:
        if self.words:
            try:
                return ForkedProcess(self.name, self.words, self.server)
            except OSError as exc:
                self._send_message(f"not forked ({exc}); started as a program of its own\n".encode())
        return self._child_ctor(self.cmd, env=self.env, cwd=self.cwd)

    def _relay(self, output: Any) -> None:
        with output:
            for line in iter(output.readline, b""):
                if self.name != "registry" or not any(words in line for words in REGISTRY_NOISE):
                    self._send_message(line)

    @staticmethod
    def _signal_group(group: int, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(group, number)


class Supervisor(Manager):  # type: ignore[misc]  # honcho has no types
    def __init__(self, printer: Printer, sessions: Sessions, server: Path) -> None:
        super().__init__(printer)
        self.events: queue.Queue[Any] = queue.Queue()
        self._terminating = False
        self._stopping = {False: threading.Event(), True: threading.Event()}  # stores have their own
        self._sessions, self._server = sessions, server
        self._process_ctor = KeptProcess

    def add(self, name: str, command: str, environment: dict[str, str]) -> None:
        process = self.add_process(name, command, env=environment, cwd=str(ROOT))
        process.stopping = self._stopping[name in STORES]
        process.sessions, process.server = self._sessions, self._server
        process.words = [] if name == FORK_SERVER else python_words(command, environment)

    def _start(self) -> None:
        for name, process in self._processes.items():
            threading.Thread(target=process["obj"].run, args=(self.events,), daemon=True, name=name).start()

    def terminate(self) -> None:
        if self._terminating:
            return
        self._terminating = True
        threading.Thread(target=self._terminate_in_order, daemon=True).start()

    def _terminate_in_order(self) -> None:
        for are_stores in (False, True):
            self._stopping[are_stores].set()
            names = [name for name in self._processes if (name in STORES) == are_stores]
            for name in names:
                self._signal(self._procmgr.terminate, name)
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline and any("returncode" not in self._processes[name] for name in names):
                time.sleep(0.05)
            for name in names:
                if "returncode" not in self._processes[name]:
                    self._signal(self._procmgr.kill, name)

    def _signal(self, send: Callable[[int], None], name: str) -> None:
        pid = self._processes[name].get("pid")
        if pid:  # 0 would mean our own group
            send(pid)


def environment(home: Path) -> dict[str, str]:
    """What our processes get: the caller's variables, and what saves memory and start-up time."""
    values = dict(os.environ)
    values.pop("PYTHONDONTWRITEBYTECODE", None)  # compiling everything at every start costs seconds
    return values | {
        "PAAS_HOME": str(home),
        "PATH": f"{ROOT / '.venv' / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        # glibc keeps an arena for each thread and raises its limits for ever after one large buffer; both would be
        # memory that is never given back.
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_TRIM_THRESHOLD_": "131072",
        "MALLOC_MMAP_THRESHOLD_": "131072",
        "DJANGO_SETTINGS_MODULE": "paas.settings",
        # Celery's advice; builds and instances run in containers, and the engine's socket is root's anyway.
        "PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges",
    }


def main(names: list[str]) -> int:
    """Run these processes of the Procfile (all when empty) until SIGTERM."""
    home = Path(os.environ["PAAS_HOME"])
    lock = Lock(home / "run" / "platform.lock")
    try:
        lock.take()
    except AlreadyRunning:
        sys.stderr.write(f" !     The platform in {home} runs already.\n")
        return 1
    sessions = Sessions(home / "run" / "sessions")
    end(sessions.members(), grace_seconds=5)  # of a supervisor that was killed
    sessions.clear()
    printer = Printer(Log(home / "logs" / "platform.log"), time_format="%Y-%m-%d %H:%M:%S", colour=False)
    supervisor = Supervisor(printer, sessions, home / "run" / "fork.sock")
    supervisor.add(FORK_SERVER, 'exec python -m paas.host.forkserver "$PAAS_HOME/run/fork.sock"', environment(home))
    for name, command in parse_procfile((ROOT / "Procfile").read_text()).processes.items():
        if not names or name in names:
            supervisor.add(name, command, environment(home))
    supervisor.loop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
