"""What became of builds, for whoever listens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paas.apps.events import identity
from paas.builds.models import Build, BuildStatus
from paas.core.events import Action, Include, moment, person, tell

# There are three for clients of the Platform API. Which kind of failure it was, the log says.
STATUS = {
    BuildStatus.PENDING: "pending",
    BuildStatus.BUILDING: "pending",
    BuildStatus.SUCCEEDED: "succeeded",
    BuildStatus.FAILED: "failed",
    BuildStatus.CANCELLED: "failed",
    BuildStatus.SUPERSEDED: "failed",
}


def build_data(build: Build) -> dict[str, Any]:
    return {
        "app": identity(build.app),
        "created_at": moment(build.created_at),
        "id": str(build.pk),
        "output_stream_url": None,
        "release": {"id": str(build.release_id)} if build.release_id else None,
        "slug": {"id": str(build.image_id)} if build.image_id else None,
        "source_blob": {"checksum": None, "url": None, "version": build.new, "version_description": build.commit_subject},
        "stack": build.app.stack,
        "status": STATUS[BuildStatus(build.status)],
        "updated_at": moment(build.finished_at or build.updated_at),
        "user": person(build.created_by),
    }


def tell_build(build: Build, action: Action, *, previous: Mapping[str, Any] | None = None) -> None:
    """Within the transaction; `build` as it is now."""
    app = build.app
    tell(
        Include.BUILD, action, build_data(build), app_id=app.pk, app_name=app.name, by=build.created_by, previous=previous
    )
