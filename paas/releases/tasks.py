"""Addresses for the queue."""

from __future__ import annotations

from celery import shared_task

from paas.releases import tags


@shared_task(name="releases.publish_tags", acks_late=True, ignore_result=True)
def publish_tags(app_id: str) -> None:
    tags.publish_tags(app_id)
