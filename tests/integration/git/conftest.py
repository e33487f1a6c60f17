from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runtime.git.repository import create_repository, ref_value

PROJECT = Path(__file__).parents[3]
_numbers = itertools.count(1)


def wait_until(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def free_socket() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    return listener


def interrupt(process: subprocess.Popen[str]) -> None:
    """Ctrl-C: the terminal signals the whole group, the helper that holds the connection too."""
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=30)


@dataclass
class Result:
    status: int
    output: str
    lines: list[tuple[float, str]] = field(default_factory=list)  # with the time each was seen


@dataclass
class GitServer:
    root: Path
    port: int
    ssh_port: int

    def ssh_address(self, app: str, user: str = "alice") -> str:
        return f"ssh://{user}@127.0.0.1:{self.ssh_port}/{app}.git"

    def address(self, app: str, user: str = "alice", password: str = "correct", port: int | None = None) -> str:
        return f"http://{user}:{password}@127.0.0.1:{port or self.port}/{app}.git"

    def make_app(self, transport: str = "http", **script: Any) -> ServerApp:
        app = ServerApp(server=self, name=f"app{next(_numbers)}", transport=transport)
        create_repository(app.repository, "main")
        app.script(**script)
        return app


@dataclass
class ServerApp:
    server: GitServer
    name: str
    transport: str = "http"

    @property
    def repository(self) -> Path:
        return self.server.root / f"{self.name}.git"

    @property
    def url(self) -> str:
        return self.address()

    def address(self, user: str = "alice") -> str:
        ssh = self.transport == "ssh"
        return self.server.ssh_address(self.name, user) if ssh else self.server.address(self.name, user)

    @property
    def hold(self) -> Path:
        """While this file exists, jobs wait before their end."""
        return self.server.root / f"{self.name}.hold"

    def script(self, **script: Any) -> None:
        temporary = self.server.root / f"{self.name}.tmp"
        temporary.write_text(json.dumps(script))
        temporary.replace(self.server.root / f"{self.name}.json")

    def log(self) -> list[str]:
        path = self.server.root / f"{self.name}.log"
        return path.read_text().splitlines() if path.exists() else []

    def head(self, ref: str = "refs/heads/main") -> str | None:
        return ref_value(self.repository, ref)

    def files(self) -> set[str]:
        """Every object file, in quarantine or not."""
        objects = self.repository / "objects"
        return {str(path.relative_to(objects)) for path in objects.rglob("*") if path.is_file()}

    def quarantines(self) -> list[Path]:
        return list((self.repository / "objects").glob("tmp_*"))

    def fsck(self) -> None:
        done = subprocess.run(
            ["git", "-C", str(self.repository), "fsck", "--full", "--strict"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def ssh_command(keys: Path) -> str:
    """The user's key is the one of that name; the server's is the one that it has made."""
    known = f"-o UserKnownHostsFile={keys}/known_hosts -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes"
    return f"ssh -F none {known} -o IdentitiesOnly=yes -o IdentityAgent=none -o IdentityFile={keys}/%r"


class Clone:
    """A working copy and the real git client in it."""

    def __init__(self, path: Path, home: Path, keys: Path) -> None:
        self.path = path
        self.home = home
        self.keys = keys

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": ssh_command(self.keys),
            "GIT_AUTHOR_NAME": "Alice",
            "GIT_AUTHOR_EMAIL": "alice@example.com",
            "GIT_COMMITTER_NAME": "Alice",
            "GIT_COMMITTER_EMAIL": "alice@example.com",
            "LC_ALL": "C.UTF-8",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["git", *arguments],
            cwd=self.path,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )

    def git(self, *arguments: str) -> Result:
        result = Result(status=0, output="")
        with self.start(*arguments) as process:
            assert process.stdout is not None
            for line in process.stdout:
                result.lines.append((time.monotonic(), line.rstrip()))
        result.status = process.returncode
        result.output = "\n".join(line for _, line in result.lines)
        return result

    def ok(self, *arguments: str) -> str:
        result = self.git(*arguments)
        assert result.status == 0, f"git {' '.join(arguments)}\n{result.output}"
        return result.output

    def commit(self, files: dict[str, str | bytes] | None = None, message: str = "Work") -> str:
        for name, content in (files or {"file": f"{time.monotonic_ns()}\n"}).items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.ok("add", "--all")
        self.ok("commit", "--quiet", "--allow-empty", "-m", message)
        return self.head()

    def head(self, name: str = "HEAD") -> str:
        return self.ok("rev-parse", name).strip()

    def plumb(self, *arguments: str, data: bytes = b"") -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env=self.environment(), input=data, capture_output=True, check=True
        )
        return done.stdout.decode().strip()

    def pack(self, *names: str, revs: bool = False) -> bytes:
        options = ["--revs"] if revs else []
        done = subprocess.run(
            ["git", "pack-objects", "--stdout", "-q", *options],
            cwd=self.path,
            env=self.environment(),
            input="".join(f"{name}\n" for name in names).encode(),
            capture_output=True,
            check=True,
        )
        return done.stdout


@pytest.fixture(scope="session")
def server() -> Iterator[GitServer]:
    root = Path(tempfile.mkdtemp(prefix="git-server-"))
    listener = free_socket()
    port = listener.getsockname()[1]
    command = [
        sys.executable, "-m", "gunicorn", "--bind", f"fd://{listener.fileno()}", "--worker-class", "gthread",
        "--threads", "12", "--no-control-socket", "--graceful-timeout", "2", "--worker-tmp-dir", str(root),
        "--chdir", str(PROJECT), "tests.integration.git.git_server:application",
    ]  # fmt: skip
    with (root / "gunicorn.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], "GIT_SERVER_ROOT": str(root), "HOME": str(root)},
            pass_fds=[listener.fileno()],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    listener.close()
    for user in ("alice", "charlie", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / user)], check=True)
    (root / "stranger.pub").rename(root / "stranger.unknown")
    ssh = start_ssh_server(root)
    try:
        wait_until(lambda: b"Booting worker" in (root / "gunicorn.log").read_bytes(), "gunicorn starts")
        wait_until((root / "ssh.port").exists, "the SSH server starts")
        ssh_port = int((root / "ssh.port").read_text())
        host_key = (root / "ssh_host_key.pub").read_text()
        (root / "known_hosts").write_text(f"[127.0.0.1]:{ssh_port} {host_key}")
        yield GitServer(root=root, port=port, ssh_port=ssh_port)
    finally:
        for each in (process, ssh):
            each.terminate()
            try:
                each.wait(10)
            except subprocess.TimeoutExpired:
                each.kill()
                each.wait()
        for log_file in ("gunicorn.log", "ssh.log"):
            print((root / log_file).read_text())  # noqa: T201  # shown with a failure
        shutil.rmtree(root, ignore_errors=True)


def start_ssh_server(root: Path) -> subprocess.Popen[bytes]:
    with (root / "ssh.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.integration.git.ssh_server"],
            cwd=PROJECT,
            env={"PATH": os.environ["PATH"], "GIT_SERVER_ROOT": str(root), "HOME": str(root)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


@pytest.fixture(scope="session")
def nginx(server: GitServer) -> Iterator[int]:
    """nginx in front of the server, with the settings that a router gives the git endpoint."""
    folder = Path(tempfile.mkdtemp(prefix="git-nginx-"))
    listener = free_socket()
    port = listener.getsockname()[1]
    listener.close()
    (folder / "nginx.conf").write_text(
        textwrap.dedent(f"""
        daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
        events {{ worker_connections 256; }}
        http {{
          access_log off;
          client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
          uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
          server {{
            listen 127.0.0.1:{port};
            location / {{
              proxy_pass http://127.0.0.1:{server.port};
              proxy_http_version 1.1; proxy_request_buffering off; proxy_buffering off; client_max_body_size 0;
              proxy_read_timeout 2s; client_body_timeout 60s;
            }}
          }}
        }}
        """)
    )
    process = subprocess.Popen(["nginx", "-e", f"{folder}/error.log", "-p", str(folder), "-c", f"{folder}/nginx.conf"])

    def answers() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    try:
        wait_until(answers, "nginx starts")
        yield port
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def transport(request: pytest.FixtureRequest) -> str:
    """How git comes in: `both_ways` runs a test over each."""
    return str(getattr(request, "param", "http"))


both_ways = pytest.mark.parametrize("transport", ["http", "ssh"], indirect=True)


@pytest.fixture
def app(server: GitServer, transport: str) -> ServerApp:
    return server.make_app(transport)


@pytest.fixture
def make_clone(server: GitServer, tmp_path: Path) -> Callable[..., Clone]:
    numbers = itertools.count(1)

    def make(url: str = "", *options: str) -> Clone:
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        path = tmp_path / f"clone{next(numbers)}"
        path.mkdir()
        clone = Clone(path, home, server.root)
        if url and "--init" not in options:
            clone.ok("clone", "--quiet", *options, url, ".")
        else:
            clone.ok("init", "--quiet", "--initial-branch=main", *(each for each in options if each != "--init"))
            if url:
                clone.ok("remote", "add", "paas", url)
        return clone

    return make


@pytest.fixture
def clone(app: ServerApp, make_clone: Callable[..., Clone]) -> Clone:
    """A repository with one commit, ready for `git push paas main`."""
    clone = make_clone(app.url, "--init")
    clone.commit({"README": "hello\n", "src/main.py": "print('hello')\n"})
    return clone
