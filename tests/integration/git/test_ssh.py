"""What only SSH has: keys, a sentence for those who have none, and bounds on what a stranger may take up."""

from __future__ import annotations

import contextlib
import socket
import subprocess

import pytest

from paas.terminals.ssh import MOST_UNKNOWN
from tests.integration.git.conftest import Clone, GitServer, ServerApp, ssh_command, wait_until

SSH = pytest.mark.parametrize("transport", ["ssh"], indirect=True)


def ssh(server: GitServer, *words: str, user: str = "alice", options: tuple[str, ...] = ()) -> list[str]:
    return [*ssh_command(server.root).split(), *options, "-p", str(server.ssh_port), f"{user}@127.0.0.1", *words]


def said(command: list[str]) -> tuple[int, str]:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    return done.returncode, (done.stdout + done.stderr).decode()


@SSH
def test_a_stranger_is_told_why_and_asked_for_nothing(server: GitServer, app: ServerApp, clone: Clone) -> None:
    result = clone.git("push", app.address("stranger"), "main")
    assert result.status == 128
    assert "unknown keys: 1" in result.output
    status, text = said(ssh(server, "apps", options=("-o", "PubkeyAuthentication=no")))
    assert (status, "unknown keys: 0" in text) == (255, True)
    status, text = said(ssh(server, "apps", user="stranger", options=("-o", "BatchMode=yes")))
    assert (status, "Permission denied (publickey" in text) == (255, True)


def test_a_known_key_is_found_behind_strange_ones(server: GitServer) -> None:
    """And nothing is said of those."""
    options = ("-o", f"IdentityFile={server.root}/stranger")
    command = ssh(server, "nosuch", options=options)
    status, text = said(command)
    assert (status, "There is no command 'nosuch'." in text, "unknown" in text) == (1, True, False)


def test_sessions_that_have_ended_make_room_in_their_connection(server: GitServer) -> None:
    control = ("-o", f"ControlPath={server.root}/control", "-o", "ControlMaster=auto", "-o", "ControlPersist=30")
    for _ in range(15):
        assert said(ssh(server, "nosuch", options=control))[0] == 1
    assert said(ssh(server, options=(*control, "-O", "exit")))[0] == 0


def test_a_push_that_stalls_does_not_hold_its_thread(server: GitServer, app: ServerApp) -> None:
    app.script(limits={"body_timeout_seconds": 1})
    process = subprocess.Popen(
        ssh(server, f"git-receive-pack '{app.name}.git'"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.read().startswith(b"00")  # the refs, and then the end, as nothing was sent
        assert process.wait(30) == 128


def test_strangers_who_say_nothing_leave_room_for_others(server: GitServer) -> None:
    with contextlib.ExitStack() as silent:
        connections = [
            silent.enter_context(socket.create_connection(("127.0.0.1", server.ssh_port), timeout=30))
            for _ in range(MOST_UNKNOWN + 20)
        ]
        ended = 0
        for connection in connections:
            with contextlib.suppress(OSError):
                answer = connection.recv(200)
                ended += not answer or not connection.recv(1 << 16)
        assert ended >= 20
    wait_until(lambda: said(ssh(server, "nosuch"))[0] == 1, "there is room again")
