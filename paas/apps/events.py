"""What happened to an app itself, for whoever listens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paas.apps.models import App
from paas.apps.selectors import git_url, url
from paas.core.events import Action, Include, moment, person, tell


def identity(app: App) -> dict[str, str]:
    return {"id": str(app.pk), "name": app.name}


def app_data(app: App) -> dict[str, Any]:
    return {
        **identity(app),
        "archived_at": None,
        "build_stack": {"name": app.stack},
        "created_at": moment(app.created_at),
        "git_url": git_url(app.name),
        "maintenance": app.maintenance,
        "owner": person(app.owner),
        "stack": {"name": app.stack},
        "updated_at": moment(app.updated_at),
        "web_url": f"{url(app)}/",
    }


def tell_app(app: App, action: Action, *, by: Any, previous: Mapping[str, Any] | None = None) -> None:
    """Within the transaction; `app` as it is now."""
    tell(Include.APP, action, app_data(app), app_id=app.pk, app_name=app.name, by=by, previous=previous)
