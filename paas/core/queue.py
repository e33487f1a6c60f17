"""Send tasks by name. A task is a hint to look sooner: a queue that is away is logged, and the sweep looks anyway."""

from __future__ import annotations

import time

import structlog
from celery import current_app
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

log = structlog.get_logger()
SENT_AT = "sent_at"  # a header of each message: how long it has been waiting


def send(name: str, *args: object, countdown: float | None = None) -> None:
    try:
        current_app.send_task(name, args=list(args), countdown=countdown, retry=False, headers={SENT_AT: time.time()})
    except (OperationalError, RedisError, OSError) as exc:
        log.warning("task_not_sent", task=name, reason=str(exc))
