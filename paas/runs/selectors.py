"""Which commands were run, by whom, and what became of them."""

from __future__ import annotations

from django.db.models import QuerySet

from paas.apps.models import App
from paas.runs.models import Run
from runtime.errors import NotFound


def runs_of(app: App) -> QuerySet[Run]:
    return app.runs.select_related("created_by", "release")


def get_run(app: App, number: int) -> Run:
    """Raises `NotFound`."""
    found = runs_of(app).filter(number=number).first()
    if found is None:
        raise NotFound(f"{app.name} has no run {number}.", id="run_not_found")
    return found
