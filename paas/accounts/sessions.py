"""Django's session store over our own rows: they say whose they are, and don't hold what a cookie holds.

`settings.SESSION_ENGINE` names this module.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from django.contrib.auth import SESSION_KEY as USER_KEY
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.db import IntegrityError, transaction
from django.utils import timezone

from paas.accounts.models import Session

LIFETIME = timedelta(days=14)  # from the sign-in on, however busy the session is


def digest_of(session_key: str) -> str:
    return hashlib.sha256(session_key.encode()).hexdigest()


class SessionStore(SessionBase):
    # When the row was last touched, and from where; None before it is loaded.
    row: Session | None = None

    def load(self) -> dict[str, Any]:
        key = self.session_key
        self.row = (key and Session.objects.filter(digest=digest_of(key), expires_at__gt=timezone.now()).first()) or None
        if self.row is None:
            self._session_key = None
            return {}
        return self.decode(self.row.session_data)

    def exists(self, session_key: str | None) -> bool:
        return bool(session_key) and Session.objects.filter(digest=digest_of(str(session_key))).exists()

    def create(self) -> None:
        while True:
            self._session_key = self._get_new_session_key()  # type: ignore[attr-defined]  # missing in the stubs
            try:
                self.save(must_create=True)
            except CreateError:
                continue
            self.modified = True
            return

    def save(self, must_create: bool = False) -> None:
        if self.session_key is None:
            self.create()
            return
        values = self._get_session(no_load=must_create)  # type: ignore[attr-defined]  # missing in the stubs
        row = {
            "session_data": self.encode(values),
            "expires_at": self.get_expiry_date(),
            "user_id": values.get(USER_KEY),
        }
        digest = digest_of(self.session_key)
        if not must_create:
            if not Session.objects.filter(digest=digest).update(updated_at=timezone.now(), **row):
                raise UpdateError
            return
        try:
            with transaction.atomic():
                self.row = Session.objects.create(digest=digest, **row)
        except IntegrityError as exc:
            raise CreateError from exc

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key:
            Session.objects.filter(digest=digest_of(key)).delete()

    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

    @classmethod
    def clear_expired(cls) -> None:
        Session.objects.filter(expires_at__lte=timezone.now()).delete()
