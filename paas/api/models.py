"""What the API remembers of requests that are not to be carried out twice."""

from __future__ import annotations

from django.db import models

from paas.core.crypto import EncryptedJSONField
from paas.core.models import BaseModel


class KeptAnswer(BaseModel):
    """Of a request with an `Idempotency-Key`. Without an answer it is at work. Encrypted, as an answer may hold the
    secret of a new token."""

    token = models.ForeignKey("accounts.ApiToken", on_delete=models.CASCADE, related_name="+")
    key_digest = models.CharField(max_length=64)
    request_digest = models.CharField(max_length=64)
    answer = EncryptedJSONField(null=True)
    begun_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["token", "key_digest"], name="one_answer_per_token_and_key")]

    def __str__(self) -> str:
        return f"{self.token_id} {self.key_digest[:12]}"
