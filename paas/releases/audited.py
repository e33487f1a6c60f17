"""What a new release moves, as the audit log keeps it: no config value, only that there is one."""

from __future__ import annotations

from typing import Any

from paas.core import audit
from paas.releases.models import Release


def moved(base: Release | None, release: Release) -> tuple[dict[str, Any], dict[str, Any]]:
    """Before and after, by the same names: only what differs."""
    before, after = ({} if base is None else _plain(base)), _plain(release)
    names = sorted(name for name in after if before.get(name) != after[name])
    old: dict[str, str] = dict(base.config) if base else {}
    new: dict[str, str] = dict(release.config)
    config = [name for name in old | new if old.get(name) != new.get(name)]
    first, then = {name: before.get(name) for name in names}, {name: after[name] for name in names}
    if config:
        first["config"] = audit.masked(name for name in config if name in old)
        then["config"] = audit.masked(name for name in config if name in new)
    return first, then


def _plain(release: Release) -> dict[str, Any]:
    return {
        "image": release.image.digest if release.image else None,
        "process_types": sorted(release.process_types),
        "ports": release.ports,
        "limits": release.limits,
        "health_overrides": release.health_overrides,
    }
