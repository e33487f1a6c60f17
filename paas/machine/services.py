"""Ask for what takes longer than a page: a measure of the disk, a cleanup."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import structlog
from redis import RedisError

from paas.accounts.models import User
from paas.convergence.cleanup import clean_up
from paas.core import audit, redis
from paas.core.queue import send
from paas.machine.measure import measure
from runtime.errors import Failure

log = structlog.get_logger()
CLEANING = "paas:cleaning"
LONGEST_CLEANUP_SECONDS = 3600


def request_measure() -> None:
    send("machine.measure")


def request_cleanup(*, by: User) -> bool:
    """False when one is asked for or at work already."""
    state = json.dumps({"state": "asked", "at": time.time()})
    if not redis.client().set(CLEANING, state, nx=True, ex=LONGEST_CLEANUP_SECONDS):
        told = cleanup_state()
        if told and told["state"] != "failed":
            return False
        redis.client().set(CLEANING, state, ex=LONGEST_CLEANUP_SECONDS)
    audit.record("host.cleanup_requested", by=by)
    send("machine.clean_up", str(by.pk))
    return True


def run_cleanup(by: User) -> None:
    """Then measure anew. Why it could not be done is kept for the page."""
    try:
        clean_up(by=by, wait_seconds=60)
    except Failure as exc:
        log.warning("not_cleaned_up", error=exc.id, reason=exc.message)
        told = {"state": "failed", "at": time.time(), "reason": str(exc)}
        redis.client().set(CLEANING, json.dumps(told), ex=LONGEST_CLEANUP_SECONDS)
    else:
        redis.client().delete(CLEANING)
    measure()


def cleanup_state() -> Mapping[str, Any] | None:
    """`asked`, or `failed` with a reason; None when nothing is going on."""
    try:
        text = redis.client().get(CLEANING)
    except RedisError:
        return None
    return json.loads(text) if isinstance(text, str) else None
