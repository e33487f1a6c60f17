"""The fork server and real children of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from paas.core.processes import is_alive, read_stat
from paas.env import CHECKOUT
from paas.host.forkserver import STATUS_UNKNOWN, ForkedProcess
from paas.host.run import environment

SCRIPT = """\
#!/usr/bin/env python
import os, sys, threading
import django.apps
print(os.getsid(0) == os.getpid(), sys.argv[1:], django.apps.apps.ready, threading.active_count(), flush=True)
print(sorted(int(name) for name in os.listdir("/proc/self/fd")), flush=True)
if sys.argv[1] == "wait":
    sys.stdin = open(sys.argv[2])
    sys.stdin.read()
sys.exit(7)
"""


def wait_for(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def script(tmp_path) -> str:
    file: Path = tmp_path / "script"
    file.write_text(SCRIPT)
    return str(file)


@pytest.fixture
def fifo(tmp_path) -> str:
    path: Path = tmp_path / "fifo"
    os.mkfifo(path)
    return str(path)


@pytest.fixture
def server(tmp_path):
    file: Path = tmp_path / "fork.sock"
    home = tmp_path / "home"
    home.mkdir()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "paas.host.forkserver", str(file)],
            cwd=CHECKOUT,
            env=environment(home),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    yield process, file
    process.kill()
    process.wait()
    assert (tmp_path / "log").read_text() == ""  # everything could be loaded


def test_a_child_runs_with_everything_loaded_and_nothing_of_its_parent(server, script):
    _, file = server
    children = [ForkedProcess("web", [script, "end", "--here"], file) for _ in range(3)]
    for child in children:
        said = child.stdout.read().decode().splitlines()
        child.stdout.close()
        # In a session of its own, Django ready, no other thread; three descriptors and the one that lists them.
        assert said == ["True ['end', '--here'] True 1", "[0, 1, 2, 3]"]
        assert child.wait() == 7


def test_a_killed_child_is_reported(server, script, fifo):
    _, file = server
    child = ForkedProcess("web", [script, "wait", fifo], file)
    child.stdout.readline()
    assert (read_stat(child.pid) or pytest.fail("it does not run")).session == child.pid
    assert Path(f"/proc/{child.pid}/cmdline").read_bytes().startswith(b"paas web: ")
    os.kill(child.pid, 9)
    assert child.wait() == -9
    child.stdout.close()


def test_a_child_outlives_the_fork_server_and_is_still_waited_for(server, script, fifo):
    process, file = server
    child = ForkedProcess("web", [script, "wait", fifo], file)
    child.stdout.readline()
    process.kill()
    process.wait()
    assert is_alive(child.pid)
    with Path(fifo).open("w"):
        pass  # lets it end
    assert child.wait() == STATUS_UNKNOWN
    assert not is_alive(child.pid)
    child.stdout.close()


def test_who_asks_a_fork_server_that_is_killed_learns_of_it(server, script):
    process, file = server
    wait_for(file.exists)
    process.kill()  # while it loads
    with pytest.raises(OSError):
        ForkedProcess("web", [script, "end"], file)


def test_the_socket_is_for_root_alone(server):
    _, file = server
    wait_for(file.exists)
    assert file.stat().st_mode & 0o777 == 0o600
