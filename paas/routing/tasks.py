"""Addresses for the queue."""

from __future__ import annotations

from celery import shared_task

from paas.apps.models import App
from paas.routing import services


@shared_task(name="routing.check_domains", acks_late=True, ignore_result=True)
def check_domains(app_id: str) -> None:
    app = App.objects.filter(pk=app_id).first()
    if app is not None:
        services.check_domains(app)
