"""`python -m paas.host.forkserver SOCKET`: loads Django, Celery and our code once and forks our processes from that.

A line of the Procfile that starts Python would load the same 80 MB again for each process. Forked from one parent, the
processes share those pages until somebody writes to them, and start in a tenth of the time. The line stays an ordinary
command: the child runs the same script with the same arguments, in a session of its own.

The supervisor asks over a socket, with one connection for each child: the words go there together with the descriptor for
its output; the child's number comes back, and its status at the end. A fork server that is killed takes nobody with it:
the supervisor then watches the child itself, and starts another fork server.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import shlex
import shutil
import signal
import socket
import string
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# Also what is imported late, at the first request or task: it would be loaded again in every process.
LOADED = (
    "paas.wsgi",
    "paas.gitserver.wsgi",
    "paas.celery",
    "paas.logs.collecting",
    "paas.streams.asgi",
    "paas.terminals.serve",  # asyncssh: 6 MB here, 20 MB of scattered pages when a child loads it
    "paas.host.gunicorn_conf",
    "runtime.builder.assemble",
    "runtime.engine.docker",
    "runtime.logs.drains",
    "runtime.reconcile.apply",
    "runtime.registry.client",
    "runtime.router.nginx",
    "runtime.stacks.store",
    "billiard.pool",
    "celery.app.control",
    "celery.app.log",
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.concurrency.thread",
    "celery.contrib.django.task",
    "celery.events.receiver",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer",
    "celery.worker.strategy",
    "django.contrib.messages.storage.session",
    "django.contrib.sessions.serializers",
    "django.db.models.sql.compiler",
    "dulwich.worktree",
    "gunicorn.app.wsgiapp",
    "gunicorn.glogging",
    "gunicorn.workers.gthread",
    "httpcore",
    "kombu.transport.redis",
    "netrc",
    "uvicorn.lifespan.on",
    "uvicorn.loops.asyncio",
    "uvicorn.main",
    "uvicorn.protocols.http.h11_impl",
)
NAMED_SECONDS = 10.0  # until its socket is there
ANSWER_SECONDS = 60.0  # a busy machine takes a while to load everything
SHELL_SIGNS = frozenset("|&;<>()`\\'*?~#{}")
STATUS_UNKNOWN = -1


def python_words(command: str, variables: Mapping[str, str]) -> list[str]:
    """What `exec gunicorn …` or `exec python -m …` runs: a script or "-m" and a module, then the arguments.

    Empty for a line of any other kind, which needs a shell or is not Python."""
    if SHELL_SIGNS & set(command):
        return []
    try:
        words = [string.Template(word).substitute(variables) for word in shlex.split(command)]
    except (KeyError, ValueError):
        return []
    match words:
        case ["exec", "python", "-m", _, *_]:
            return words[2:]
        case ["exec", name, *arguments]:
            script = shutil.which(name, path=variables["PATH"])
            if script is None:
                return []
            with Path(script).open("rb") as file:
                first = file.readline(256)
            return [script, *arguments] if first.startswith(b"#!") and b"python" in first else []
        case _:
            return []


class ForkedProcess:
    """A child of the fork server, in the manner of `subprocess.Popen`."""

    def __init__(self, name: str, words: list[str], server: Path) -> None:
        """Raises `OSError` when there is no fork server, or it went away."""
        self.returncode: int | None = None
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.settimeout(ANSWER_SECONDS)
        output, given = os.pipe()
        self.stdout = os.fdopen(output, "rb")
        try:
            _connect(self._connection, server)
            socket.send_fds(self._connection, [json.dumps({"name": name, "words": words}).encode()], [given])
            answer = self._connection.recv(64)
            if not answer:
                raise ConnectionResetError("the fork server went away")
            self.pid = int(answer)
        except OSError:
            self._connection.close()
            self.stdout.close()
            raise
        finally:
            os.close(given)
        self._connection.settimeout(None)

    def wait(self) -> int:
        with self._connection, suppress(OSError):
            if answer := self._connection.recv(64):
                self.returncode = int(answer)
        if self.returncode is None:  # its parent died first; it goes on
            with suppress(ProcessLookupError):
                child = os.pidfd_open(self.pid)
                try:
                    select.select([child], [], [])
                finally:
                    os.close(child)
            self.returncode = STATUS_UNKNOWN
        return self.returncode


def _connect(connection: socket.socket, server: Path) -> None:
    deadline = time.monotonic() + NAMED_SECONDS
    while True:
        try:
            connection.connect(str(server))
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


@dataclass(frozen=True, slots=True)
class Request:
    name: str
    words: list[str]
    output: int


class ForkServer:
    def __init__(self, file: Path) -> None:
        file.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        before = os.umask(0o177)
        self._listener.bind(str(file))
        os.umask(before)
        self._listener.listen(64)
        self._children: dict[int, tuple[int, socket.socket]] = {}  # descriptor of the process -> pid, who asked for it

    def serve(self) -> Request:
        """Never returns in the server; in each child, with what it was asked for."""
        listener = self._listener.fileno()
        while True:
            ready, _, _ = select.select([listener, *self._children], [], [])
            for descriptor in ready:
                if descriptor == listener:
                    request = self._fork()
                    if request is not None:
                        return request
                else:
                    self._reap(descriptor)

    def _fork(self) -> Request | None:
        connection, _ = self._listener.accept()
        connection.settimeout(5)
        try:
            message, descriptors, _, _ = socket.recv_fds(connection, 65536, 1)
        except OSError:
            message, descriptors = b"", []
        if not message or not descriptors:
            connection.close()
            return None
        request = Request(**json.loads(message), output=descriptors[0])
        pid = os.fork()
        if pid == 0:
            connection.close()
            self._forget()
            return request
        os.close(request.output)
        try:
            connection.send(str(pid).encode())
        except OSError:  # who asked is gone, and would never know of it
            os.kill(pid, signal.SIGKILL)
        self._children[os.pidfd_open(pid)] = (pid, connection)
        return None

    def _forget(self) -> None:
        self._listener.close()
        for descriptor, (_, connection) in self._children.items():
            os.close(descriptor)
            connection.close()

    def _reap(self, descriptor: int) -> None:
        pid, connection = self._children.pop(descriptor)
        os.close(descriptor)
        _, status = os.waitpid(pid, 0)
        with connection, suppress(OSError):
            connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def load() -> None:
    """Import what our processes need. What can't be imported is left to the one that needs it, whose failure is seen."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "paas.settings")
    gc.disable()  # as the documentation of gc.freeze advises: less is written to pages that are shared later
    for name in LOADED:
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001 - one broken process must not take the others down
            traceback.print_exc()
    with suppress(Exception):
        set_up_openssl()
    with suppress(Exception):
        from django.urls import get_resolver

        from paas.celery import celery_app

        celery_app.loader.import_default_modules()
        _ = get_resolver().url_patterns
    gc.freeze()


def set_up_openssl() -> None:
    """At its first use it fills tables, 7 MB that every child would write to pages of its own. Its random numbers are
    seeded anew in each child."""
    import ssl

    from cryptography.fernet import Fernet
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    Fernet(Fernet.generate_key()).encrypt(b"")
    public = Ed25519PrivateKey.generate().public_key()
    load_ssh_public_key(public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))


def become(request: Request) -> None:
    """Run what was asked for, as if Python had been started with it."""
    os.setsid()
    os.dup2(request.output, 1)
    os.dup2(request.output, 2)
    os.close(request.output)
    show_title(request.name, request.words)
    gc.enable()
    if request.words[0] == "-m":
        sys.argv = request.words[1:]
        runpy.run_module(request.words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = request.words
        runpy.run_path(request.words[0], run_name="__main__")


def show_title(name: str, words: list[str]) -> None:
    """What `ps` and `top` show, instead of the fork server's command."""
    with suppress(OSError, ValueError, IndexError):
        Path("/proc/self/comm").write_text(f"paas-{name}")
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[45]), int(fields[46])
        title = f"paas {name}: {' '.join(words)}".encode()[: end - start - 1]
        with Path("/proc/self/mem").open("r+b", buffering=0) as memory:
            memory.seek(start)
            memory.write(title.ljust(end - start, b"\0"))


def main(file: Path) -> None:
    server = ForkServer(file)  # first: who asks waits until everything is loaded
    load()
    become(server.serve())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
