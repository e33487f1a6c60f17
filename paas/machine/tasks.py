"""Addresses for the queue."""

from __future__ import annotations

from celery import shared_task
from django.conf import settings

from paas.accounts.models import User
from paas.core import audit
from paas.machine import certificates, services
from paas.machine.measure import measure as measure_storage


@shared_task(name="machine.measure", acks_late=True, ignore_result=True)
def measure() -> None:
    measure_storage()


@shared_task(name="machine.renew_certificates", acks_late=True, ignore_result=True)
def renew_certificates() -> None:
    certificates.renew_certificates(settings.ENV)


@shared_task(name="machine.clean_up", acks_late=True, ignore_result=True)
def clean_up(user_id: str) -> None:
    with audit.through("dashboard"):
        services.run_cleanup(User.objects.get(pk=user_id))
