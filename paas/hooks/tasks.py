"""Addresses for the queue. Every one of them is a hint to look sooner; the sweep looks anyway."""

from __future__ import annotations

from celery import shared_task

from paas.hooks.services import delivering, events, mails, notifications, sweeping


@shared_task(name="hooks.take_events", acks_late=True, ignore_result=True)
def take_events() -> None:
    events.take_events()


@shared_task(name="hooks.deliver", acks_late=True, ignore_result=True)
def deliver(webhook_id: str) -> None:
    delivering.deliver(webhook_id)


@shared_task(name="hooks.send_messages", acks_late=True, ignore_result=True)
def send_messages(channel_id: str) -> None:
    notifications.send_messages(channel_id)


@shared_task(name="hooks.mail_password", acks_late=True, ignore_result=True)
def mail_password(email: str) -> None:
    mails.mail_password(email)


@shared_task(name="hooks.sweep", acks_late=True, ignore_result=True)
def sweep() -> None:
    sweeping.sweep()
