"""A terminal that was promised, and the secret that whoever comes for it has to know: good for once, and for a minute."""

from __future__ import annotations

import secrets

from paas.accounts.services import hash_token
from paas.core import redis
from paas.runs.models import Run
from paas.runs.services import COME_SECONDS


def promise_terminal(run: Run) -> str:
    """The secret. Only its SHA-256 is kept."""
    secret = secrets.token_hex(32)
    redis.client().set(_key(secret), str(run.pk), ex=COME_SECONDS)
    return secret


def claim_terminal(secret: str) -> Run | None:
    """None when it is unknown, used, or too old."""
    run_id = redis.client().getdel(_key(secret))
    if run_id is None:
        return None
    return Run.objects.select_related("app", "release", "release__image").filter(pk=str(run_id)).first()


def _key(secret: str) -> str:
    return f"paas:rendezvous:{hash_token(secret)}"
