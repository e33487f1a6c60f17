"""The formation of an app: its process types with their sizes."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from paas.apps.models import App
from paas.releases.models import Release
from paas.releases.selectors import wished_release

DEFAULT_CPU_SHARES = 1024


@dataclass(frozen=True, slots=True)
class Process:
    process: str
    command: str
    quantity: int
    memory_bytes: int  # 0 = no limit
    cpu_shares: int


def formation(app: App, release: Release | None = None) -> list[Process]:
    """Every process type of the release (the wished one by default), also those scaled to nothing."""
    release = release or wished_release(app)
    if release is None or release.image is None:
        return []
    types = dict(release.process_types) or {"web": ""}  # a Dockerfile without a Procfile: the image's own command
    scales = {row.process: row for row in app.scales.all()}
    processes = []
    for process, command in sorted(types.items()):
        row = scales.get(process)
        limit = release.limits.get(process, {})
        processes.append(
            Process(
                process=process,
                command=command,
                quantity=row.quantity if row else 1,
                memory_bytes=limit.get("memory_bytes", settings.ENV.app_memory_bytes),
                cpu_shares=limit.get("cpu_shares", DEFAULT_CPU_SHARES),
            )
        )
    return processes
