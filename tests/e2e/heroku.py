"""The stock Heroku CLI in the hands of a test: installed once, run with what `paas heroku-env` says, and watched.

Its Node is the one that Playwright brings, since Debian 12 has an older one than the CLI wants; npm is the machine's.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import socketserver
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import playwright

from tests.e2e.harness import CHECKOUT, Platform, Result

HERE = CHECKOUT / "tests" / "e2e" / "clients"
NODE = Path(playwright.__file__).parent / "driver" / "node"
COMMAND_SECONDS = 90.0
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\x1b[=>]|\r")


def installed_clients() -> Path:
    """A folder with `node_modules` as locked in tests/e2e/clients, made by the first that asks while others wait."""
    cache = Path(os.environ.get("PAAS_TEST_CACHE") or CHECKOUT / "var" / "cache")
    cache.mkdir(parents=True, exist_ok=True)
    version = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:12]
    folder, is_whole = cache / f"clients-{version}", cache / f"clients-{version}" / "whole"
    with (cache / "clients.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, folder)
            install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=280, check=False)
            assert done.returncode == 0, f"{' '.join(install)} failed:\n{done.stdout}{done.stderr}"
            is_whole.touch()
    return folder


def exports(script: str, home: Path) -> dict[str, str]:
    """The variables that a shell exports after somebody with this home has evaluated the script in it."""
    done = subprocess.run(
        ["/usr/bin/env", "-i", f"HOME={home}", "bash", "-eu", "-c", f"{script}\nexec /usr/bin/env -0"],
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    pairs = [line.partition("=") for line in done.stdout.split("\0") if line]
    return {name: value for name, _, value in pairs if name not in {"HOME", "PWD", "SHLVL", "_", "OLDPWD"}}


class Tunnel:
    """A proxy for git and its like: leads names of the test to where they are, and knows no others."""

    def __init__(self, hosts: Mapping[str, Mapping[int, int]]) -> None:
        tunnel = self

        class Asked(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                verb, target, *_ = self.rfile.readline().decode("latin-1").split()
                while self.rfile.readline().strip():
                    pass
                host, _, port = target.rpartition(":")
                tunnel.asked.add(host)
                if verb != "CONNECT" or host not in hosts:
                    self.wfile.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
                    return
                with socket.create_connection(("127.0.0.1", hosts[host].get(int(port), int(port)))) as far:
                    self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    back = threading.Thread(target=_copy, args=(far, self.connection), daemon=True)
                    back.start()
                    _copy(self.connection, far)
                    back.join()

        self.asked: set[str] = set()
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Asked)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):  # one of them has gone
        while chunk := source.recv(65536):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)


class Terminal:
    """A command on a terminal, as somebody sits at one."""

    def __init__(self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
        self._process = subprocess.Popen(
            arguments, cwd=cwd, env={**environment, "TERM": "xterm"}, stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no threads hold locks that it needs
        )  # fmt: skip
        os.close(slave)
        self._output = b""
        self._read_up_to = 0

    @property
    def text(self) -> str:
        return ESCAPES.sub("", self._output.decode(errors="replace"))

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, seconds))
        if not ready:
            return False
        try:
            chunk = os.read(self._master, 65536)
        except OSError:  # EIO: the other end is closed
            chunk = b""
        self._output += chunk
        return chunk != b""

    def wait_for(self, pattern: str, seconds: float = COMMAND_SECONDS) -> str:
        """Until something that matches has come since the last time."""
        deadline = time.monotonic() + seconds
        while True:
            match = re.compile(pattern, re.MULTILINE).search(self.text, self._read_up_to)
            if match:
                self._read_up_to = match.end()
                return match.group()
            if not self._read(deadline - time.monotonic()):
                raise AssertionError(f"Nothing on the terminal matched {pattern!r}:\n{self.text}")

    def send(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self, seconds: float = COMMAND_SECONDS) -> int:
        """Its exit code, once it has ended by itself."""
        deadline = time.monotonic() + seconds
        while self._read(deadline - time.monotonic()):
            pass
        try:
            return self._process.wait(max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"It did not end within {seconds:g} s:\n{self.text}") from None

    def close(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
        os.close(self._master)


class Heroku:
    """The CLI of one person, with a home of its own. Call it with the words of a command."""

    def __init__(
        self,
        platform: Platform,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        hosts: Mapping[str, Mapping[int, int]] | None = None,
    ) -> None:
        clients = installed_clients()
        self.platform = platform
        self.home, self.work = folder / "home", folder / "work"
        self.log = folder / "hosts.log"
        bin_ = folder / "bin"
        for path in (self.home, self.work, bin_):
            path.mkdir(parents=True, exist_ok=True)
        self.log.touch()
        self.settings = dict(environment or exports(platform.paas("heroku-env").out, self.home))
        # By its name on the path, since the CLI makes `heroku git:credentials` git's helper.
        script = bin_ / "heroku"
        script.write_text(f'#!/bin/sh\nexec "{NODE}" "{clients}/node_modules/heroku/bin/run.js" "$@"\n')
        script.chmod(0o755)
        self.bin, self.modules = bin_, clients / "node_modules"
        self.environment = {
            "PATH": f"{bin_}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_NAME": "Alice",
            "GIT_AUTHOR_EMAIL": "alice@example.com",
            "GIT_COMMITTER_NAME": "Alice",
            "GIT_COMMITTER_EMAIL": "alice@example.com",
            "NODE_COMPILE_CACHE": str(clients / "compiled"),
            "NODE_OPTIONS": f"--require={HERE / 'watch.cjs'}",
            "WATCH_LOG": str(self.log),
            "WATCH_HOSTS": json.dumps({"localhost": {}, **(hosts or {})}),
            **self.settings,
        }

    def without(self, *names: str, **others: str) -> Heroku:
        """The same with another environment."""
        twin = object.__new__(Heroku)
        twin.__dict__.update(self.__dict__)
        twin.environment = {k: v for k, v in self.environment.items() if k not in names} | others
        return twin

    def stand_in_for_docker(self, name: str, really: str) -> None:
        """Docker logs in and pushes in its daemon. That knows neither the names of the test nor the CA, but takes
        any certificate of localhost: there is the same registry. It may lack the plugin for two options, too."""
        docker = shutil.which("docker")
        assert docker, "docker's command line is missing; bin/test installs it"
        script = self.bin / "docker"
        script.write_text(
            "#!/bin/bash\nset -eu\narguments=()\nwhile (($#)); do\n"
            "  case $1 in\n    --provenance | --sbom) shift ;;\n"
            f'    *) arguments+=("${{1/#{name}/{really}}}") ;;\n  esac\n  shift\ndone\n'
            f'DOCKER_BUILDKIT=0 exec {docker} "${{arguments[@]}}"\n'
        )
        script.chmod(0o755)

    def __call__(
        self, *words: str, code: int | None = 0, text: str = "", cwd: Path | None = None, seconds: float = COMMAND_SECONDS
    ) -> Result:
        """Run it to its end; `code` is the exit code it should have, None for any."""
        return self.run(["heroku", *words], code=code, text=text, cwd=cwd, seconds=seconds)

    def run(
        self,
        command: Sequence[str],
        *,
        code: int | None = 0,
        text: str = "",
        cwd: Path | None = None,
        seconds: float = COMMAND_SECONDS,
    ) -> Result:
        """Any program with the CLI's environment, such as git."""
        started = time.monotonic()
        program = shutil.which(command[0], path=self.environment["PATH"]) or command[0]
        process = subprocess.Popen(
            [program, *command[1:]], cwd=cwd or self.work, env=self.environment, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        said = " ".join(command)
        try:
            out, err = process.communicate(text, timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            raise AssertionError(f"`{said}` did not end within {seconds:g} s:\n{out}{err}") from None
        result = Result(process.returncode, out, err, time.monotonic() - started)
        assert code is None or result.code == code, f"`{said}` exited {result.code}, not {code}:\n{result.text}"
        return result

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json").out)

    @contextlib.contextmanager
    def terminal(self, *words: str) -> Iterator[Terminal]:
        terminal = Terminal([str(self.bin / "heroku"), *words], self.work, self.environment)
        try:
            yield terminal
        finally:
            terminal.close()

    def hosts_tried(self) -> set[str]:
        """All that was asked for, wherever it would have led."""
        return {json.loads(line)["host"] for line in self.log.read_text().splitlines()}

    def strangers(self) -> set[str]:
        """Hosts that are none of the test's."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return {line["host"] for line in lines if not line["known"]}


def together(*commands: Callable[[], Any]) -> list[Any]:
    """Commands that don't depend on each other: a start of Node is mostly waiting for one of two cores."""
    with ThreadPoolExecutor(4) as pool:
        return [job.result() for job in [pool.submit(command) for command in commands]]
