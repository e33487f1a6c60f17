"""Requests to receivers that behave in every way."""

from __future__ import annotations

import socket
import time

import pytest

from runtime.outbound.addresses import Guard
from runtime.outbound.api import NotReached
from runtime.outbound.http import EXCERPT_BYTES, HttpOutbound
from tests.integration.hooks.conftest import LOOPBACK
from tests.integration.hooks.receivers import Behaviour


@pytest.fixture
def outbound(tls):
    return HttpOutbound(LOOPBACK, tls[0])


def post(outbound, url, *, seconds=5.0, body=b"{}"):
    return outbound.post(url, body, {"Content-Type": "application/json"}, seconds=seconds)


def refusal(outbound, url, **options) -> str:
    with pytest.raises(NotReached) as caught:
        post(outbound, url, **options)
    return caught.value.id


def test_a_request_arrives_with_its_headers(outbound, receiver):
    answer = post(outbound, receiver.url, body=b"hello")
    assert (answer.status, answer.excerpt) == (200, "thanks")
    (got,) = receiver.got
    assert (got.path, got.body, got.headers["Content-Type"]) == ("/hook", b"hello", "application/json")
    assert got.headers["Host"] == f"localhost:{receiver.port}"


def test_a_password_in_the_url_goes_into_the_header(outbound, receiver):
    post(outbound, receiver.url.replace("localhost", "me:p%40ss@localhost"))
    assert receiver.got[0].headers["Authorization"] == "Basic bWU6cEBzcw=="


def test_a_certificate_of_a_trusted_authority_is_accepted(outbound, secure_receiver):
    assert post(outbound, secure_receiver.url).status == 200


def test_any_other_certificate_is_not(secure_receiver, outbound, tls):
    assert refusal(HttpOutbound(LOOPBACK, None), secure_receiver.url) == "tls_failed"
    assert refusal(outbound, secure_receiver.url.replace("localhost", "127.0.0.1")) == "tls_failed"
    assert secure_receiver.got == []


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "0"])
def test_loopback_is_refused_however_it_is_written(receiver, name):
    outbound = HttpOutbound(Guard(), None)
    assert refusal(outbound, f"http://{name}:{receiver.port}/") in {"address_refused", "name_not_resolved"}
    assert receiver.got == []


def test_a_name_that_means_something_else_at_the_second_look_is_looked_at_when_it_is_used(monkeypatch, receiver):
    """DNS rebinding: what counts is the address that is connected to, not one that was asked for before."""
    outbound = HttpOutbound(Guard(), None)
    asked = []

    def resolve(_host, port, **_):
        asked.append(port)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert refusal(outbound, f"http://rebound.example.com:{receiver.port}/") == "address_refused"
    assert len(asked) == 1
    assert receiver.got == []


def test_a_redirect_is_told_and_not_followed(outbound, receiver):
    receiver.behaviour = Behaviour(status=302, headers={"Location": f"http://127.0.0.1:{receiver.port}/other"})
    assert post(outbound, receiver.url).status == 302
    assert [got.path for got in receiver.got] == ["/hook"]


def test_a_receiver_that_is_overloaded_says_when_to_come_back(outbound, receiver):
    receiver.behaviour = Behaviour(status=503, headers={"Retry-After": "120"})
    assert post(outbound, receiver.url).retry_after == 120


def test_a_slow_receiver_is_left(outbound, receiver):
    receiver.behaviour = Behaviour(wait_seconds=5)
    began = time.monotonic()
    assert refusal(outbound, receiver.url, seconds=0.5) == "timed_out"
    assert time.monotonic() - began < 3


def test_a_receiver_that_sends_a_byte_now_and_then_is_left_as_well(outbound, receiver):
    receiver.behaviour = Behaviour(drips=True)
    began = time.monotonic()
    assert refusal(outbound, receiver.url, seconds=1) == "timed_out"
    assert time.monotonic() - began < 4


def test_a_receiver_that_hangs_up_or_is_not_there_is_named(outbound, receiver):
    receiver.behaviour = Behaviour(drops=True)
    assert refusal(outbound, receiver.url) == "connection_lost"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert refusal(outbound, f"http://localhost:{port}/") == "connection_refused"
    assert refusal(outbound, "http://no-such-name.invalid/") == "name_not_resolved"


def test_a_server_that_speaks_something_else_is_named(outbound):
    with socket.create_server(("127.0.0.1", 0)) as server:
        import threading

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"220 mail.example.com ESMTP\r\n" * 3)
                connection.recv(1000)

        threading.Thread(target=greet, daemon=True).start()
        assert refusal(outbound, f"http://localhost:{server.getsockname()[1]}/") in {"bad_answer", "connection_lost"}


def test_little_of_a_long_answer_is_read(outbound, receiver):
    receiver.behaviour = Behaviour(status=500, body=b"\x00<b>" + b"x" * 10_000_000)
    answer = post(outbound, receiver.url)
    assert answer.status == 500
    assert len(answer.excerpt) <= EXCERPT_BYTES
    assert "\x00" not in answer.excerpt
