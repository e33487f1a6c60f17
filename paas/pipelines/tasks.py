"""Addresses for the queue."""

from __future__ import annotations

from celery import shared_task

from paas.pipelines import services


@shared_task(name="pipelines.run_promotion", acks_late=True, ignore_result=True)
def run_promotion(promotion_id: str) -> None:
    services.run_promotion(promotion_id)
