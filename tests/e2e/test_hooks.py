"""Hooks out of a running platform: signed deliveries in order, and a log that arrives once whatever is killed."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from contextlib import suppress

import pytest

from runtime.logs.syslog import unframed
from tests.e2e.harness import App, wait_until
from tests.integration.hooks.receivers import Behaviour, HttpReceiver


def events(receiver: HttpReceiver) -> list[dict[str, object]]:
    return [json.loads(got.body) for got in receiver.got]


def told(receiver: HttpReceiver, resource: str) -> list[tuple[object, object]]:
    found = [each for each in events(receiver) if each["resource"] == resource]
    return [(each["action"], each["data"]["status"]) for each in found]  # type: ignore[index]


def test_a_deploy_is_told_in_order_and_signed(app: App, receiver: HttpReceiver) -> None:
    app.deploy("flask", version="one")
    secret = app.paas("webhooks:add", receiver.url, "-i", "api:build,api:release,dyno").out.strip()
    app.deploy(version="two")
    wait_until(lambda: ("update", "succeeded") in told(receiver, "build"), "the end of the build is told")
    assert told(receiver, "build") == [("create", "pending"), ("update", "succeeded")]
    assert told(receiver, "release") == [("create", "pending"), ("update", "succeeded")]
    numbers = [each["sequence"] for each in events(receiver)]
    assert numbers == sorted(numbers)  # type: ignore[type-var]
    assert all(got.is_signed(secret) for got in receiver.got)
    assert all(each["status"] == "succeeded" for each in app.json("webhooks:deliveries"))


def test_a_slow_receiver_holds_up_nobody_else(app: App, receiver: HttpReceiver) -> None:
    app.deploy("flask", version="one")
    slow = HttpReceiver()
    slow.behaviour = Behaviour(wait_seconds=60)
    try:
        for _ in range(3):
            app.paas("webhooks:add", slow.url, "-i", "api:formation", "-l", "notify")
        app.paas("webhooks:add", receiver.url, "-i", "api:formation", "-l", "notify")
        app.paas("ps:scale", "web=2")
        wait_until(lambda: len(slow.got) == 3, "the slow ones have been asked")
        wait_until(lambda: receiver.got, "the other one is told meanwhile", seconds=8)
        assert app.get().status == 200
        ended = lambda: [each["status"] for each in app.json("webhooks:deliveries")].count("failed") == 3  # noqa: E731
        wait_until(ended, "the slow ones are given up", seconds=60, pause=1)
    finally:
        slow.close()


def test_what_an_absent_receiver_missed_comes_in_order_when_it_is_back(app: App, receiver: HttpReceiver) -> None:
    app.deploy("flask", version="one")
    receiver.behaviour = Behaviour(status=503)
    app.paas("webhooks:add", receiver.url, "-i", "api:formation", "-l", "sync")
    for quantity in (2, 1, 2):
        app.paas("ps:scale", f"web={quantity}")
    wait_until(lambda: receiver.got, "the first try")
    receiver.behaviour = Behaviour()
    succeeded = lambda: [each["status"] for each in app.json("webhooks:deliveries")] == ["succeeded"] * 3  # noqa: E731
    wait_until(succeeded, "all three have arrived", seconds=90, pause=1)
    quantities = [each["data"]["quantity"] for each in events(receiver)]  # type: ignore[index]
    assert list(dict.fromkeys(map(str, quantities))) == ["2", "1"]
    assert quantities[-3:] == [2, 1, 2]


def test_a_failed_deploy_and_a_crash_loop_are_told_to_a_room(app: App, receiver: HttpReceiver) -> None:
    app.deploy("flask", version="one")
    channel = app.paas("notifications:add", receiver.url).out.strip()
    app.paas("notifications:test", channel)
    assert "a test" in json.loads(receiver.got[0].body)["text"]
    app.use("fails-exit").commit()
    app.push().failed()
    wait_until(lambda: any("failed" in json.loads(got.body)["text"] for got in receiver.got), "the failure is told")


@pytest.mark.alone
def test_a_drain_gets_each_line_once_across_a_kill_of_the_agent(app: App, receiver: HttpReceiver) -> None:
    """By whoever knows that a frame that comes again is the same: that is what `Logplex-Frame-Id` is for."""
    app.deploy("flask", version="one")
    app.paas("drains:add", receiver.url)
    number = 0

    def visit(times: int) -> int:
        nonlocal number
        for _ in range(times):
            app.get(f"/visit/{number}/")
            number += 1
        return number - 1

    def visits() -> Counter[int]:
        frames = {got.headers["Logplex-Frame-Id"]: got.body for got in list(receiver.got)}
        lines = [each.decode() for body in frames.values() for each in unframed(body)]
        found = [re.search(r"/visit/(\d+)/", each) for each in lines if " paas router - " in each]
        return Counter(int(each[1]) for each in found if each)

    for _ in range(3):
        last = visit(20)
        wait_until(lambda last=last: visits()[last], "lines arrive", seconds=60)  # type: ignore[misc]
        visit(10)  # on their way
        for pid in app.platform.processes("agent"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        visit(10)
    last = visit(1)
    wait_until(lambda: visits()[last], "the last line arrives", seconds=90)
    assert visits() == Counter(range(number))
