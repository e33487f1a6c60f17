"""Runs over the API, as Heroku's clients have them: a terminal met by a secret, logs and output at addresses."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.e2e.harness import App, Platform, wait_until


class Api:
    def __init__(self, platform: Platform) -> None:
        self.trusted = platform.trusted
        self.client = platform.http(platform.token)
        self.bare = platform.http()  # whoever has the address of a log or an output needs nothing else

    def __call__(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        answer = self.client.request(method, path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def close(self) -> None:
        self.client.close()
        self.bare.close()


@pytest.fixture(scope="module")
def api(platform: Platform) -> Iterator[Api]:
    api = Api(platform)
    yield api
    api.close()


class Meeting:
    """A client that has come for a terminal."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self.connection = connection
        self.send = connection.sendall
        self.text = b""

    def until(self, words: bytes) -> bytes:
        while words not in self.text:
            data = self.connection.recv(65536)
            assert data, self.text
            self.text += data
        seen, _, self.text = self.text.partition(words)
        return seen + words

    def end(self) -> bytes:
        """What was said until the platform closed."""
        while data := self.connection.recv(65536):
            self.text += data
        return self.text


@contextmanager
def met(api: Api, attach_url: str, *, end: bytes = b"\r\n") -> Iterator[Meeting]:
    address = urlsplit(attach_url)
    with (
        socket.create_connection(("127.0.0.1", address.port or 0), timeout=60) as plain,
        api.trusted.wrap_socket(plain, server_hostname=address.hostname) as connection,
    ):
        connection.sendall(address.path.removeprefix("/").encode() + end)
        yield Meeting(connection)


def attached(api: Api, app: App, command: str, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = api(
        "POST", f"/apps/{app.name}/dynos", {"command": command, "attach": True, **more}, status=201
    )
    return made


@pytest.mark.parametrize("end", [b"\r\n", b""])
def test_the_greeting_comes_by_itself_and_then_the_terminal(api: Api, steady: App, end: bytes):
    env = {"TERM": "vt100", "COLUMNS": "132", "LINES": 43}
    run = attached(api, steady, "stty size; echo $TERM; echo \uffff ünï", env=env)
    with met(api, run["attach_url"], end=end) as meeting:
        assert meeting.connection.recv(65536) == b"rendezvous\r\n"
        assert meeting.end().decode() == "43 132\r\nvt100\r\n\uffff ünï\r\n"
    steady.runs_end()


def test_keys_reach_the_command_and_ctrl_c_interrupts_it(api: Api, steady: App):
    run = attached(api, steady, "sh")
    with met(api, run["attach_url"]) as meeting:
        meeting.until(b"$ ")
        meeting.send(b"trap 'echo inter''rupted' INT; echo re''ady; sleep 1000\r")
        meeting.until(b"ready")
        meeting.send(b"\x03")
        meeting.until(b"interrupted")
        meeting.send(b"exit\r")
        meeting.end()
    steady.runs_end()


def test_pipes_carry_bytes_and_a_last_end_byte_closes_the_input(api: Api, steady: App):
    run = attached(api, steady, "cat; echo fine >&2", force_no_tty=True)
    data = bytes(range(256)) * 2000
    with met(api, run["attach_url"]) as meeting:
        meeting.until(b"rendezvous\r\n")
        meeting.send(data + b"\x04")
        assert meeting.end() == data + b"fine\n"
    steady.runs_end()


def test_a_secret_is_good_for_once_and_a_wrong_one_for_nothing(api: Api, steady: App):
    run = attached(api, steady, "echo once")
    with met(api, run["attach_url"]) as meeting:
        assert b"once" in meeting.end()
    for address in (run["attach_url"], run["attach_url"][:-64] + "0" * 64, run["attach_url"][:-64] + "GET / HTTP/1.1"):
        with met(api, address) as meeting:
            assert meeting.end() == b""


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_vanishes_leaves_nothing_behind(api: Api, steady: App, how: str):
    run = attached(api, steady, "sleep 1000")
    with met(api, run["attach_url"]) as meeting:
        meeting.until(b"rendezvous\r\n")
        wait_until(steady.runs, "the command runs")
        if how == "reset":
            linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
            meeting.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    steady.runs_end()
    wait_until(
        lambda: all(each["name"] != run["name"] for each in api("GET", f"/apps/{steady.name}/dynos")), "it is over"
    )


def test_a_run_is_stopped_by_hand_and_at_its_deadline(api: Api, steady: App):
    run = attached(api, steady, "sleep 1000")
    with met(api, run["attach_url"]) as meeting:
        meeting.until(b"rendezvous\r\n")
        wait_until(steady.runs, "the command runs")
        api("POST", f"/apps/{steady.name}/dynos/{run['name']}/actions/stop", status=202)
        meeting.end()
    run = attached(api, steady, "sleep 1000", time_to_live=1)
    with met(api, run["attach_url"]) as meeting:
        meeting.until(b"rendezvous\r\n")
        meeting.end()
    steady.runs_end()


@pytest.mark.alone
def test_a_run_whose_process_of_ours_is_killed_is_ended(api: Api, platform: Platform, steady: App):
    run = attached(api, steady, "sleep 1000")
    with met(api, run["attach_url"]) as meeting:
        meeting.until(b"rendezvous\r\n")
        wait_until(steady.runs, "the command runs")
        for pid in platform.processes("terminals"):
            os.kill(pid, signal.SIGKILL)
    steady.runs_end(seconds=180)


def test_what_a_detached_run_says_is_in_a_log_session(api: Api, steady: App):
    words = f"detached {time.time_ns()}"
    run = api("POST", f"/apps/{steady.name}/dynos", {"command": f"echo {words}"}, status=201)

    def session() -> httpx.Response:
        made = api("POST", f"/apps/{steady.name}/log-sessions", {"dyno": run["name"], "lines": 10}, status=201)
        return api.bare.get(made["logplex_url"])

    wait_until(lambda: words in session().text, "the line is in the log")
    answer = session()
    assert answer.headers["content-type"].startswith("text/plain")
    assert re.fullmatch(rf"\S+ app\[{re.escape(run['name'])}\]: {words}\n", answer.text)


def test_a_tail_is_a_stream_of_events_that_goes_on(api: Api, steady: App):
    body = {"dyno": "worker", "lines": 1, "tail": True}
    made = api("POST", f"/apps/{steady.name}/log-sessions", body, status=201)
    accept = {"Accept": "text/event-stream"}
    with api.bare.stream("GET", made["logplex_url"], headers=accept) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = (line for line in answer.iter_lines() if line.startswith("data: "))
        assert [bool(re.match(r"data: \S+ app\[worker\.1\]: ", next(lines))) for _ in range(3)] == [True] * 3
    assert api.bare.get(made["logplex_url"][:-4] + "0000").status_code == 404


def test_the_output_of_a_build_is_read_at_its_address_while_it_is_written(api: Api, new_app: Callable[[], App]):
    app = new_app().use_slow_build(4)
    app.commit()
    push = app.start_push()
    push.wait_for("tick 1", seconds=180)  # while it waits for its turn there is no output yet: 404
    (build,) = api("GET", f"/apps/{app.name}/builds")
    seen: list[float] = []
    with api.bare.stream("GET", build["output_stream_url"], timeout=120) as answer:
        assert answer.status_code == 200
        for _ in answer.iter_lines():
            seen.append(time.monotonic())
    push.succeeded()
    assert seen[-1] - seen[0] > 2  # not all at the end
    assert "is live at" in api.bare.get(build["output_stream_url"]).text
