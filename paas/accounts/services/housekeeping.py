"""What ran out."""

from __future__ import annotations

from django.utils import timezone

from paas.accounts.models import ApiToken, LoginRequest
from paas.accounts.sessions import SessionStore


def forget_expired() -> int:
    """Sessions, requests to sign in and tokens that are of no use any more; how many tokens."""
    SessionStore.clear_expired()
    LoginRequest.objects.filter(expires_at__lte=timezone.now()).delete()
    gone, _ = ApiToken.objects.filter(expires_at__lte=timezone.now()).delete()
    return gone
