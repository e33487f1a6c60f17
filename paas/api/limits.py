"""How much a token may ask: a bucket of 4,500 requests that fills by 75 a minute, as Heroku's. Redis keeps it; without
Redis nobody is held up."""

from __future__ import annotations

import time

import structlog
from redis.exceptions import RedisError

from paas.accounts.models import ApiToken
from paas.api.errors import Refusal
from paas.core import redis

log = structlog.get_logger()
MOST = 4500
A_MINUTE = 75
FULL_AFTER_SECONDS = MOST * 60 // A_MINUTE

# KEYS[1] bucket; ARGV: what it holds at most, what it gains a second, now, what is taken. Nothing is taken of too little.
TAKE = """
local most, gain, now, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local kept = redis.call('HMGET', KEYS[1], 'left', 'at')
local left = math.min(most, (tonumber(kept[1]) or most) + math.max(0, now - (tonumber(kept[2]) or now)) * gain)
if left < cost then
  return -1
end
left = left - cost
redis.call('HSET', KEYS[1], 'left', tostring(left), 'at', tostring(now))
redis.call('EXPIRE', KEYS[1], ARGV[5])
return math.floor(left)
"""


def take(token: ApiToken, cost: int = 1) -> int:
    """How many are left. Raises `Refusal` with 429."""
    arguments = (MOST, A_MINUTE / 60, time.time(), cost, FULL_AFTER_SECONDS)
    try:
        left = int(redis.client().eval(TAKE, 1, f"paas:rate:{token.pk}", *map(str, arguments)))
    except RedisError as exc:
        log.warning("requests_not_limited", reason=str(exc))
        return MOST
    if left < 0:
        raise Refusal(
            429,
            "rate_limit",
            f"The token {token.name!r} has asked too much.",
            hint=f"It may ask {A_MINUTE} times a minute, {MOST:,} times at once after a pause.",
            headers={"RateLimit-Remaining": "0", "Retry-After": "1"},
        )
    return left
