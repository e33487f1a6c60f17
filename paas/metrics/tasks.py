"""Addresses for the queue."""

from __future__ import annotations

from celery import shared_task

from paas.metrics import services


@shared_task(name="metrics.record", acks_late=True, ignore_result=True)
def record() -> None:
    services.record_waiting()
