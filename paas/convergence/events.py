"""What became of instances, for whoever listens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paas.apps.events import identity
from paas.apps.models import App
from paas.convergence.models import Instance
from paas.core.events import Action, Include, moment, tell


def instance_data(app: App, row: Instance) -> dict[str, Any]:
    """`reason` and `crashes` (in a row) are our own: why it is as it is."""
    return {
        "app": identity(app),
        "crashes": row.crashes,
        "created_at": moment(row.created_at),
        "id": str(row.pk),
        "name": str(row),
        "reason": row.reason or None,
        "release": {"version": row.release_version},
        "state": row.state,
        "type": row.process,
        "updated_at": moment(row.since),
    }


def tell_instance(app: App, row: Instance, action: Action, *, previous: Mapping[str, Any] | None = None) -> None:
    """Within the transaction; `row` as it is now."""
    data = instance_data(app, row)
    tell(Include.INSTANCE, action, data, app_id=app.pk, app_name=app.name, previous=previous)
