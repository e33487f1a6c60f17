"""Who is signed in where; end that."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from paas.accounts.models import Session, User
from paas.accounts.sessions import digest_of
from paas.core import audit

TOUCH_EVERY = timedelta(minutes=1)


def end_sessions(user: User, *, keep: str = "") -> int:
    """All but the one with this key, if any; how many there were. Part of a service that says why."""
    ended, _ = user.sessions.exclude(digest=digest_of(keep) if keep else "").delete()
    return ended


@transaction.atomic
def end_session(session: Session, *, by: User) -> None:
    audit.record("session.end", by=by, email=str(session.user), before=_described(session))
    session.delete()


@transaction.atomic
def end_other_sessions(user: User, *, keep: str, by: User) -> int:
    ended = end_sessions(user, keep=keep)
    if ended:
        audit.record("session.end_others", by=by, email=user.email, sessions_ended=ended)
    return ended


@transaction.atomic
def record_sign_in(user: User, *, session_key: str, address: str, user_agent: str, second_step: str = "") -> None:
    """The session knows where it came from. `second_step`: "code" or "recovery code"."""
    Session.objects.filter(digest=digest_of(session_key)).update(
        address=address, user_agent=user_agent[:300], seen_at=timezone.now()
    )
    audit.record("session.create", by=user, after={"user_agent": user_agent[:300], "second_step": second_step or None})


def record_failed_sign_in(email: str, *, step: str = "password") -> None:
    """The same for users and for nobody, so that it takes the same time."""
    audit.record("session.refused", by=None, email=email, step=step)


def touch_session(session: Session, *, address: str, user_agent: str) -> None:
    """That it was seen, at most once a minute; at once when it turns up at another address."""
    now = timezone.now()
    if now - session.seen_at < TOUCH_EVERY and session.address == address:
        return
    Session.objects.filter(pk=session.pk).update(seen_at=now, address=address, user_agent=user_agent[:300])


def _described(session: Session) -> dict[str, str]:
    return {"address": session.address, "user_agent": session.user_agent, "since": session.created_at.isoformat()}
