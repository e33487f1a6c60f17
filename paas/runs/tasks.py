"""Addresses for the queue."""

from __future__ import annotations

from celery import shared_task

from paas.runs import services


@shared_task(name="runs.begin", acks_late=True, ignore_result=True)
def begin(run_id: str) -> None:
    services.begin(run_id)


@shared_task(name="runs.settle", acks_late=True, ignore_result=True)
def settle(container_id: str) -> None:
    services.settle(container_id)


@shared_task(name="runs.sweep", acks_late=True, ignore_result=True)
def sweep() -> None:
    services.sweep()
