"""Work that is done by one at a time, and once more for whoever came meanwhile."""

from __future__ import annotations

from contextlib import contextmanager

from paas.core import redis


def test_who_comes_while_it_is_done_has_it_done_once_more():
    done = []

    def work(held):
        done.append(held)
        if len(done) == 1:
            redis.take_turn("it", work)  # somebody else: it returns at once

    redis.take_turn("it", work)
    assert len(done) == 2


def test_who_comes_after_the_last_look_is_not_forgotten(monkeypatch):
    """Before the lock is let go of, but after its holder has looked for the last time."""
    done: list[object] = []
    real = redis.lease

    @contextmanager
    def lease(name):
        with real(name) as held:
            yield held
            if len(done) == 1:
                redis.raise_flag("it")

    monkeypatch.setattr(redis, "lease", lease)
    redis.take_turn("it", done.append)
    assert len(done) == 2


def test_a_turn_can_be_ended_and_what_was_asked_for_meanwhile_stays_asked_for():
    def work(held):
        redis.raise_flag("it")
        return False

    redis.take_turn("it", work)
    assert redis.is_raised("it")
