"""Requests go nowhere and are remembered; time can be moved on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.db.models import F

from paas import wiring
from paas.hooks.models import Delivery, Message
from paas.hooks.services.delivering import deliver
from paas.hooks.services.events import take_events
from paas.hooks.services.notifications import channels_with_work, send_messages
from runtime.outbound.memory import MemoryOutbound


@pytest.fixture(autouse=True)
def outbound() -> Iterator[MemoryOutbound]:
    made = MemoryOutbound()
    with wiring.replaced(outbound=made):
        yield made


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
