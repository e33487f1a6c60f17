"""Logs on their way to real receivers: none is lost, none comes twice, and nobody is held up."""

from __future__ import annotations

import base64
import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runtime.logs.drains import Drain, Draining, DrainSpec, load_state
from runtime.logs.record import Line, Source
from runtime.logs.store import Limits, LogStore
from runtime.logs.syslog import unframed
from runtime.outbound.addresses import Guard
from runtime.outbound.api import NotReached
from tests.integration.hooks.conftest import LOOPBACK
from tests.integration.hooks.receivers import Behaviour
from tests.waiting import until

TOKEN = "d.73ea7440-270a-435a-a0ea-adf50b4e5f5a"
APP = "3f0f8c8e-0000-4000-8000-000000000001"
SMALL = Limits(segment_bytes=4000)


class World:
    """A log that grows, and drains of it."""

    def __init__(self, folder: Path, ca: Path | None) -> None:
        self.logs, self.drains, self.ca = folder / "logs", folder / "drains", ca
        self.drains.mkdir()
        self.store = LogStore(self.logs, SMALL)
        self.began = datetime.now(tz=UTC) - timedelta(minutes=1)
        self.count = 0
        self.made: list[Drain] = []

    def say(self, count: int, *, app: str = APP, age: float = 0.0) -> None:
        at = datetime.now(tz=UTC) - timedelta(seconds=age)
        lines = [Line(at, Source.APP, "web.1", f"line {self.count + n}", 1, "c0ffee000000") for n in range(count)]
        for line in lines:
            self.store.append(app, [line])
        self.count += count

    def drain(self, url: str, *, app: str = APP, since: datetime | None = None, **options: object) -> Drain:
        spec = DrainSpec(TOKEN, url, app, since or self.began)
        made = Drain(spec, self.drains, self.logs, guard=LOOPBACK, ca_bundle=self.ca, **options)  # type: ignore[arg-type]
        self.made.append(made)
        return made

    def all(self) -> list[str]:
        return [f"line {n}" for n in range(self.count)]


@pytest.fixture
def world(tmp_path, tls):
    made = World(tmp_path, tls[0])
    yield made
    for drain in made.made:
        drain.close()


def run_dry(drain: Drain) -> None:
    while drain.step():
        pass


def words(messages) -> list[str]:
    return [each.decode().rpartition(" - ")[2] for each in messages]


def posted(receiver) -> list[str]:
    """By whoever knows that a frame that comes again is the same."""
    seen, found = set(), []
    for got in receiver.got:
        if got.headers["Logplex-Frame-Id"] not in seen:
            seen.add(got.headers["Logplex-Frame-Id"])
            found += words(unframed(got.body))
    return found


def test_https_gets_each_line_once_with_the_headers_of_logplex(world, secure_receiver):
    world.say(700)
    run_dry(world.drain(secure_receiver.url.replace("localhost", "me:secret@localhost")))
    assert posted(secure_receiver) == world.all()
    headers = secure_receiver.got[0].headers
    assert headers["Content-Type"] == "application/logplex-1"
    assert headers["Logplex-Drain-Token"] == TOKEN
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"me:secret").decode()
    assert sum(int(got.headers["Logplex-Msg-Count"]) for got in secure_receiver.got) == 700
    assert all(int(got.headers["Logplex-Msg-Count"]) == len(unframed(got.body)) for got in secure_receiver.got)


def test_syslog_over_tls_gets_each_line_once_over_one_connection(world, syslog, tls):
    receiver = syslog(tls[1])
    drain = world.drain(receiver.url)
    for _ in range(5):
        world.say(100)
        run_dry(drain)
    until(lambda: len(receiver.messages) >= 500, "500 messages")
    assert words(receiver.messages) == world.all()
    assert receiver.accepted == 1
    assert receiver.messages[0].split()[2] == TOKEN.encode()


def test_a_certificate_that_is_not_trusted_gets_nothing(world, syslog, tls):
    world.ca = None
    world.say(1)
    with pytest.raises(NotReached) as caught:
        world.drain(syslog(tls[1]).url).step()
    assert caught.value.id == "tls_failed"


def test_a_drain_begins_when_it_is_added(world, receiver):
    world.say(5, age=30)
    drain = world.drain(receiver.url, since=datetime.now(tz=UTC) - timedelta(seconds=5))
    world.say(3)
    run_dry(drain)
    assert posted(receiver) == ["line 5", "line 6", "line 7"]


def test_one_that_is_started_again_goes_on_where_it_was(world, receiver):
    for _ in range(4):
        world.say(50)
        run_dry(world.drain(receiver.url))
    assert posted(receiver) == world.all()
    assert len({got.headers["Logplex-Frame-Id"] for got in receiver.got}) == len(receiver.got)


def test_what_was_on_its_way_at_a_kill_comes_again_under_the_same_id(world, receiver):
    world.say(10)
    receiver.behaviour = Behaviour(drops=True)  # it has it, and we don't know
    with pytest.raises(NotReached):
        world.drain(receiver.url).step()
    world.say(90)  # also when more has been written, and packed, meanwhile
    receiver.behaviour = Behaviour()
    run_dry(world.drain(receiver.url))
    first, second, *_ = receiver.got
    assert first.headers["Logplex-Frame-Id"] == second.headers["Logplex-Frame-Id"]
    assert first.body == second.body
    assert posted(receiver) == world.all()


@pytest.mark.parametrize("behaviour", [Behaviour(status=500), Behaviour(status=302), Behaviour(drops=True)])
def test_a_receiver_that_fails_for_a_while_misses_nothing(world, receiver, behaviour):
    world.say(100)
    receiver.behaviour = behaviour
    drain = world.drain(receiver.url)
    for _ in range(3):
        with pytest.raises(NotReached):
            drain.step()
    receiver.behaviour = Behaviour()
    world.say(100)
    run_dry(drain)
    assert posted(receiver) == world.all()


def test_syslog_that_ends_connections_misses_nothing(world, syslog):
    receiver = syslog()
    drain = world.drain(receiver.url)
    for _ in range(5):
        world.say(100)
        run_dry(drain)
        until(lambda: words(receiver.messages) == world.all(), "every line")
        receiver.drop()
    assert receiver.accepted == 5


def test_half_an_hour_behind_it_jumps_and_says_how_many(world, receiver):
    world.say(600, age=50)
    world.say(30)
    run_dry(world.drain(receiver.url, behind_seconds=20))
    notice, *rest = posted(receiver)
    assert notice.startswith("Error L10 (output buffer overflow): ")
    dropped = int(notice.split()[5])
    assert dropped + len(rest) == 630
    assert rest[-30:] == world.all()[-30:]
    assert load_state(world.drains / f"{TOKEN}.json").dropped == dropped
    world.say(1)
    run_dry(world.drain(receiver.url, behind_seconds=20))
    assert posted(receiver)[-1] == "line 630"


def test_a_drain_of_all_apps_is_told_their_names(world, receiver):
    other = APP.replace("1", "2")
    world.say(3)
    world.say(3, app=other)
    (world.logs / APP / "name").write_text("hello")
    (world.logs / other / "name").write_text("shop")
    run_dry(world.drain(receiver.url, app=""))
    names = [each.split()[3] for got in receiver.got for each in unframed(got.body)]
    assert names == [b"hello"] * 3 + [b"shop"] * 3


def test_an_app_that_was_renamed_goes_by_its_new_name(world, receiver):
    world.say(2)
    (world.logs / APP / "name").write_text("hello\nshop")
    run_dry(world.drain(receiver.url, app=""))
    assert [each.split()[3] for got in receiver.got for each in unframed(got.body)] == [b"shop"] * 2


def test_no_drain_leads_into_the_network_of_the_platform(world, syslog):
    receiver = syslog()
    world.say(1)
    spec = DrainSpec(TOKEN, receiver.url, APP, world.began)
    with pytest.raises(NotReached) as caught:
        Drain(spec, world.drains, world.logs, guard=Guard(), ca_bundle=None).step()
    assert caught.value.id == "address_refused"
    assert receiver.accepted == 0


def test_the_list_says_which_drains_run_and_a_slow_one_holds_up_nobody(world, receiver, tls):
    from tests.integration.hooks.receivers import HttpReceiver

    slow = HttpReceiver()
    slow.behaviour = Behaviour(wait_seconds=60)
    fast_token, slow_token = TOKEN, TOKEN.replace("7", "8")

    def write(*rows: tuple[str, str]) -> None:
        drains = [
            {"token": token, "app": APP, "sealed_url": url, "since": world.began.isoformat()} for token, url in rows
        ]
        beside = world.drains / "new"
        beside.write_text(json.dumps({"drains": drains}))
        beside.replace(world.drains / "drains.json")

    write((slow_token, slow.url), (fast_token, receiver.url))
    draining = Draining(world.drains, world.logs, guard=LOOPBACK, ca_bundle=None, unseal=str)
    draining.start()
    try:
        world.say(100)
        until(lambda: posted(receiver) == world.all(), "all lines at the fast one")
        write((slow_token, slow.url))
        until(lambda: not (world.drains / f"{fast_token}.json").exists(), "the state of the removed one gone", 60)
        before = len(receiver.got)
        world.say(10)
        assert "drain " + fast_token[:10] not in {each.name for each in threading.enumerate() if each.is_alive()}
        assert len(receiver.got) == before
    finally:
        draining.stop()
        slow.close()
