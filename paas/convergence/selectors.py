"""What the engine has of an app."""

from __future__ import annotations

from django.conf import settings

from paas.apps.models import App
from paas.wiring import engine
from runtime.engine.api import Container
from runtime.reconcile.spec import APP_ID, HOME, KIND


def labels_of(app: App, kind: str) -> dict[str, str]:
    return {HOME: str(settings.ENV.home), APP_ID: str(app.pk), KIND: kind}


def instance_containers(app: App) -> list[Container]:
    return list(engine().list(labels_of(app, "instance")))
