"""Start-up of the shared kernel."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.signals import request_started


class CoreConfig(AppConfig):
    name = "paas.core"

    def ready(self) -> None:
        """Make our queue the current one, for everybody who sends a task by name; sign sessions with the first key."""
        from paas import celery  # noqa: F401
        from paas.core.crypto import follow_keys

        request_started.connect(follow_keys, dispatch_uid="follow_keys")
