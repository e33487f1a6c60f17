"""Slow down guessing: a few free tries, then a delay that doubles with each. By account, and by address.

Redis counts. Without Redis nobody is held up: an operator has to be able to get in and look why it is away.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import structlog
from redis.exceptions import RedisError

from paas.core import redis
from runtime.errors import UserError

log = structlog.get_logger()
FORGET_SECONDS = 24 * 3600


class TooManyAttempts(UserError):
    id = "too_many_attempts"


@dataclass(frozen=True, slots=True)
class Rule:
    free: int
    longest_seconds: int


# Many people may share an address; a password is one person's. Nobody finds a token by trying, and programs go on with
# one that has expired: an address is held up for less.
RULES = {
    "account": Rule(free=5, longest_seconds=300),
    "address": Rule(free=20, longest_seconds=900),
    "token_address": Rule(free=20, longest_seconds=60),
}


def delay_seconds(rule: Rule, attempts: int) -> int:
    """After that many in a row."""
    return 0 if attempts <= rule.free else min(2 ** min(attempts - rule.free, 20), rule.longest_seconds)


def attempt(**who: str) -> None:
    """Before each guess: `attempt(account=email, address=…)`. It counts at once, so that many at the same time are
    held up like many in a row. Raises `TooManyAttempts`."""
    try:
        for kind, value in who.items():
            _attempt(kind, value)
    except RedisError as exc:
        log.warning("sign_in_not_throttled", reason=str(exc))


def forgive(**who: str) -> None:
    """After a right one. An account's count starts anew; an address just gets this one back, as whoever has one account
    could try others for ever."""
    try:
        for kind, value in who.items():
            count, block = _keys(kind, value)
            if kind == "account":
                redis.client().delete(count, block)
            else:
                redis.client().decr(count)
                redis.client().delete(block)
    except RedisError as exc:
        log.warning("sign_in_not_throttled", reason=str(exc))


def check(**who: str) -> None:
    """Raises `TooManyAttempts` while an earlier attempt holds them up. Counts nothing."""
    try:
        for kind, value in who.items():
            left = int(redis.client().pttl(_keys(kind, value)[1])) if value else 0
            if left > 0:
                raise _too_many(left)
    except RedisError as exc:
        log.warning("sign_in_not_throttled", reason=str(exc))


def _attempt(kind: str, value: str) -> None:
    if not value:
        return
    client, (count, block) = redis.client(), _keys(kind, value)
    left = int(client.pttl(block))
    if left <= 0:
        attempts = int(client.incr(count))
        client.expire(count, FORGET_SECONDS)
        delay = delay_seconds(RULES[kind], attempts)
        # The one who sets the block may try; whoever comes at the same moment finds it set.
        if not delay or client.set(block, 1, ex=delay, nx=True):
            return
        left = delay * 1000
    raise _too_many(left)


def _too_many(milliseconds: int) -> TooManyAttempts:
    seconds = max(1, round(milliseconds / 1000))
    return TooManyAttempts(
        "There were too many attempts to sign in.",
        hint=f"Try again in {f'{seconds} seconds' if seconds > 1 else 'a second'}.",
    )


def _keys(kind: str, value: str) -> tuple[str, str]:
    name = hashlib.sha256(value.strip().lower().encode()).hexdigest()[:32]
    return f"paas:attempts:{kind}:{name}", f"paas:attempts:{kind}:{name}:wait"
