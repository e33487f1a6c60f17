"""`Idempotency-Key`: a POST that is sent again, because its answer got lost, is carried out once.

The row is there before the request is carried out, so of two at the same time one is told so. Only success is kept: what
was refused has changed nothing, and may be tried again with the same key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone

from paas.accounts.models import ApiToken
from paas.accounts.services import active_token
from paas.api import limits
from paas.api.auth import ApiRequest, secret_of
from paas.api.errors import Refusal
from paas.api.models import KeptAnswer
from paas.core.middleware import client_address

HEADER = "Idempotency-Key"
LONGEST = 255
KEPT_FOR = timedelta(days=1)
LOST_AFTER = timedelta(minutes=10)  # whoever carried it out has died
# Of the first answer alone.
NOT_KEPT = frozenset({"request-id", "ratelimit-remaining", "date"})


def once(request: ApiRequest, carry_out: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    """Raises `Refusal`: 422 for a key of another request, 409 while the first one is at work."""
    key = request.headers.get(HEADER)
    if request.method != "POST" or key is None:
        return carry_out()
    if not key or len(key) > LONGEST or not key.isascii() or not key.isprintable():
        raise Refusal(
            422,
            "invalid_params",
            f"The header {HEADER} should be 1 to {LONGEST} printable characters.",
            hint="A UUID does.",
            code="invalid_idempotency_key",
        )
    token = active_token(secret_of(request), address=client_address(request.META))
    if token is None:  # a password, or nothing good: whoever carries it out says so, and slows down guessing
        return carry_out()
    row = _claim(token, _digest(key.encode()), _digest_of(request))
    if row.answer is not None:
        request.answer_headers["RateLimit-Remaining"] = str(limits.take(token))
        return _replayed(row.answer)
    response = None
    try:
        response = carry_out()
    finally:
        _settle(request, row, response)
    return response


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest_of(request: ApiRequest) -> str:
    return _digest(b"\0".join([str(request.method).encode(), request.get_full_path().encode(), request.body]))


def _claim(token: ApiToken, key_digest: str, request_digest: str) -> KeptAnswer:
    """A row of our own to be settled, or one with an answer."""
    now = timezone.now()
    KeptAnswer.objects.filter(begun_at__lt=now - KEPT_FOR).delete()
    try:
        with transaction.atomic():
            return KeptAnswer.objects.create(
                token=token, key_digest=key_digest, request_digest=request_digest, begun_at=now
            )
    except IntegrityError:
        row = KeptAnswer.objects.filter(token=token, key_digest=key_digest).first()
    if row is not None and row.request_digest != request_digest:
        raise Refusal(
            422,
            "invalid_params",
            f"This {HEADER} belongs to another request.",
            hint="Use a new key for each thing to be done.",
            code="idempotency_key_reused",
        )
    if row is not None and row.answer is not None:
        return row
    lost = KeptAnswer.objects.filter(pk=row.pk, answer=None, begun_at=row.begun_at) if row else None
    if row is not None and lost is not None and row.begun_at < now - LOST_AFTER and lost.update(begun_at=now):
        return row
    raise Refusal(
        409,
        "conflict",
        f"A request with this {HEADER} is being carried out.",
        hint="Ask again in a moment.",
        code="idempotency_key_in_use",
        headers={"Retry-After": "1"},
    )


def _settle(request: ApiRequest, row: KeptAnswer, response: HttpResponseBase | None) -> None:
    if isinstance(response, HttpResponse) and response.status_code < 300:
        headers = {**dict(response.headers.items()), **request.answer_headers}
        answer = {
            "status": response.status_code,
            "headers": {name: value for name, value in headers.items() if name.lower() not in NOT_KEPT},
            "body": response.content.decode(),
        }
        KeptAnswer.objects.filter(pk=row.pk).update(answer=answer)  # gone with its token, if that was the deed
    else:
        KeptAnswer.objects.filter(pk=row.pk).delete()


def _replayed(kept: dict[str, Any]) -> HttpResponse:
    headers = {**kept["headers"], "Idempotent-Replayed": "true"}
    return HttpResponse(kept["body"], status=kept["status"], headers=headers)
