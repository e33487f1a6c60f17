"""Addresses for the queue. Every one of them is a hint to look sooner; the sweep looks anyway."""

from __future__ import annotations

from collections.abc import Sequence

from celery import shared_task

from paas.convergence import housekeeping, services


@shared_task(name="convergence.converge", acks_late=True, ignore_result=True)
def converge(app_id: str) -> None:
    services.converge(app_id)


@shared_task(name="convergence.retire", acks_late=True, ignore_result=True)
def retire(  # noqa: PLR0917 - a message to the queue is a list
    app_id: str,
    app_name: str,
    container_id: str,
    address: str,
    grace_seconds: int,
    bound: Sequence[Sequence[str]] = (),
) -> None:
    services.retire(app_id, app_name, container_id, address, grace_seconds, bound)


@shared_task(name="convergence.sweep", acks_late=True, ignore_result=True)
def sweep() -> None:
    services.sweep()


@shared_task(name="convergence.tidy", acks_late=True, ignore_result=True)
def tidy() -> None:
    housekeeping.tidy()
