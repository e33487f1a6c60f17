"""What is done with logs."""

from __future__ import annotations

from collections.abc import Mapping

from paas.accounts.models import User
from paas.apps.models import App
from paas.core import audit


def record_download(app: App, *, by: User, filter: Mapping[str, str]) -> None:
    """A log may hold what visitors sent: who took a copy is on record."""
    audit.record("logs.download", by=by, app_id=app.id, app_name=app.name, filter=dict(filter))
