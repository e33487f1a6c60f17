"""The real ssh client, with a key of its own, with and without a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import shlex
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tests.e2e.harness import Platform, Result


class Shell:
    """Somebody with a key."""

    def __init__(self, platform: Platform, folder: Path, *, is_known: bool = True) -> None:
        self.platform = platform
        folder.mkdir(parents=True, exist_ok=True)
        self.key = folder / "key"
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", folder.name, "-f", str(self.key)]
        subprocess.run(make, check=True, stdin=subprocess.DEVNULL)
        if is_known:
            platform.paas("keys:add", f"{self.key}.pub")
        address = urlsplit(platform.info["ssh"])
        self.port = str(address.port or 22)
        known = folder / "known_hosts"
        host_key = platform.env.ssh_host_key.with_name(f"{platform.env.ssh_host_key.name}.pub").read_text()
        known.write_text(f"[127.0.0.1]:{self.port} {host_key}")
        self.options = [
            "-F", "none", "-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=INFO",
            "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-i", str(self.key),
        ]  # fmt: skip

    def forget(self) -> None:
        self.platform.paas("keys:remove", self.key.parent.name, check=False)

    def command(self, *words: str, options: Sequence[str] = ()) -> list[str]:
        return ["ssh", *self.options, *options, "-p", self.port, "git@127.0.0.1", *words]

    def run(self, command: str, *, text: str | bytes = b"", seconds: float = 60, options: Sequence[str] = ()) -> Result:
        began = time.monotonic()
        data = text.encode() if isinstance(text, str) else text
        done = subprocess.run(
            self.command(command, options=options), input=data, capture_output=True, timeout=seconds, check=False
        )
        out, err = (each.decode(errors="replace") for each in (done.stdout, done.stderr))
        return Result(done.returncode, out, err, time.monotonic() - began)

    def start(self, command: str, *, options: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(command, options=options),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    @property
    def git_environment(self) -> dict[str, str]:
        return {"GIT_SSH_COMMAND": shlex.join(["ssh", *self.options])}

    def remote(self, app: str) -> str:
        return f"ssh://git@127.0.0.1:{self.port}/{app}.git"


class Terminal:
    """A command in a terminal of its own, as in front of a person."""

    def __init__(self, command: Sequence[str], *, rows: int = 30, columns: int = 100) -> None:
        self.text = ""
        self.code: int | None = None
        self.pid, self._screen = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm"
            with contextlib.suppress(OSError):
                # The size first: the program asks for it at once.
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
                os.execvp(command[0], list(command))
            os._exit(127)

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._screen, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, words: str, seconds: float = 60) -> str:
        """What was shown up to there; it counts as seen."""
        deadline = time.monotonic() + seconds
        while words not in self.text:
            if not self._read(deadline):
                raise AssertionError(f"{words!r} was not shown within {seconds:g} s, but: {self.text!r}")
        seen, _, self.text = self.text.partition(words)
        return seen + words

    def end(self, seconds: float = 60) -> int:
        """Its exit status, when it has ended."""
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            pass
        if time.monotonic() > deadline:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            raise AssertionError(f"It did not end within {seconds:g} s: {self.text!r}")
        self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self._screen)
        return self.code

    def kill(self) -> None:
        """As when the window is closed, or the machine it is on."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._screen)

    def _read(self, deadline: float) -> bool:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._screen], [], [], left)[0]:
            return False
        try:
            data = os.read(self._screen, 65536)
        except OSError:  # as Linux tells of the end of a terminal
            return False
        self.text += data.decode(errors="replace")
        return bool(data)
