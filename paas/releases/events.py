"""What became of releases, for whoever listens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paas.apps.events import identity
from paas.core.events import Action, Include, moment, person, tell
from paas.releases.models import Release, ReleaseStatus

STATUS = {
    ReleaseStatus.PENDING: "pending",
    ReleaseStatus.RELEASING: "pending",
    ReleaseStatus.SUCCEEDED: "succeeded",
    ReleaseStatus.FAILED: "failed",
    ReleaseStatus.SUPERSEDED: "expired",
}


def release_data(release: Release) -> dict[str, Any]:
    """The config is not part of it; the description has names of config vars."""
    return {
        "addon_plan_names": [],
        "app": identity(release.app),
        "created_at": moment(release.created_at),
        "current": release.status == ReleaseStatus.SUCCEEDED,
        "description": release.description,
        "id": str(release.pk),
        "output_stream_url": None,
        "slug": {"id": str(release.image_id)} if release.image_id else None,
        "status": STATUS[ReleaseStatus(release.status)],
        "updated_at": moment(release.finished_at or release.updated_at),
        "user": person(release.created_by),
        "version": release.version,
    }


def tell_release(release: Release, action: Action, *, previous: Mapping[str, Any] | None = None) -> None:
    """Within the transaction; `release` as it is now."""
    app = release.app
    data = release_data(release)
    tell(Include.RELEASE, action, data, app_id=app.pk, app_name=app.name, by=release.created_by, previous=previous)
