"""Which commands were run, by whom, and what became of them."""

from __future__ import annotations

from django.conf import settings
from django.db.models import QuerySet

from paas.apps.models import App
from paas.formation.selectors import DEFAULT_CPU_SHARES, formation
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


def run_limits(run: Run) -> tuple[int, int]:
    """Bytes of memory (0 = no limit) and CPU shares: its own, those of its process type, or the platform's."""
    like = None
    if run.process and run.release is not None:
        like = next((each for each in formation(run.app, run.release) if each.process == run.process), None)
    memory = like.memory_bytes if like else settings.ENV.app_memory_bytes
    shares = like.cpu_shares if like else DEFAULT_CPU_SHARES
    return run.limits.get("memory_bytes", memory), run.limits.get("cpu_shares", shares)
