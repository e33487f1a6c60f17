"""Requests go nowhere and are remembered; time can be moved on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from datetime import timedelta
from email.message import EmailMessage

import pytest
from django.conf import settings
from django.db.models import F

from paas import wiring
from paas.hooks.models import Delivery, Message
from paas.hooks.services.delivering import deliver
from paas.hooks.services.events import take_events
from paas.hooks.services.notifications import channels_with_work, send_messages
from runtime.outbound import mail
from runtime.outbound.memory import MemoryOutbound


@pytest.fixture(autouse=True)
def outbound() -> Iterator[MemoryOutbound]:
    made = MemoryOutbound()
    with wiring.replaced(outbound=made):
        yield made


@pytest.fixture
def mails(monkeypatch: pytest.MonkeyPatch) -> list[EmailMessage]:
    """The mail server takes everything."""
    taken: list[EmailMessage] = []
    settings.ENV = dataclasses.replace(settings.ENV, smtp_url="smtp://mail.example.com", mail_from="paas@example.com")
    monkeypatch.setattr(mail, "hand_over", lambda _url, message, _tls: taken.append(message))
    return taken


@pytest.fixture
def later() -> Callable[..., None]:
    """As if so much time had passed for what waits."""

    def move(**span: float) -> None:
        back = timedelta(**span)
        for model, names in ((Delivery, ("created_at", "updated_at", "next_attempt_at")), (Message, ("next_try_at",))):
            model.objects.update(**{name: F(name) - back for name in names})

    return move


@pytest.fixture
def work(db) -> Callable[[], None]:
    """What the worker does: takes what happened, delivers what is due."""

    def do() -> None:
        take_events()
        for webhook_id in Delivery.objects.order_by().values_list("webhook", flat=True).distinct():
            deliver(str(webhook_id))
        for channel_id in channels_with_work():
            send_messages(channel_id)

    return do
