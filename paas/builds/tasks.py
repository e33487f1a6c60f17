"""Addresses for the queue."""

from __future__ import annotations

from celery import shared_task

from paas.builds import services


@shared_task(name="builds.run_build", acks_late=True, ignore_result=True)
def run_build(build_id: str) -> None:
    services.run_build(build_id)
