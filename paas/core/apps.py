"""Start-up of the shared kernel."""

from __future__ import annotations

from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "paas.core"

    def ready(self) -> None:
        """Make our queue the current one, for everybody who sends a task by name."""
        from paas import celery  # noqa: F401
