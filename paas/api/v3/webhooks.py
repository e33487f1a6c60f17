"""Webhooks: who is told what happens to an app; what happened; and what became of telling it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from ninja import Router

from paas.api.auth import ApiRequest, find_app
from paas.api.ranges import page
from paas.api.schemas import Answer, Body, NamedRef, Time, app_ref
from paas.apps.models import App, Role
from paas.core.models import Event
from paas.hooks.models import Attempt, Delivery, Webhook
from paas.hooks.rules import actor_of
from paas.hooks.selectors import deliveries_of, events_of, get_delivery, get_event, get_webhook
from paas.hooks.services import webhooks

router = Router(tags=["Webhooks"])
VERSION = "application/vnd.heroku+json; version=3"
SECRET_HEADER = "Heroku-Webhook-Secret"  # noqa: S105  # the name of it


class WebhookAnswer(Answer):
    app: NamedRef
    created_at: Time
    id: UUID
    include: list[str]
    level: str
    updated_at: Time
    url: str


class NewWebhook(Body):
    url: str
    include: list[str]
    level: str
    secret: str | None = None
    authorization: str | None = None


class WebhookChange(Body):
    url: str | None = None
    include: list[str] | None = None
    level: str | None = None
    secret: str | None = None
    authorization: str | None = None


class LastAttempt(Answer):
    id: UUID
    code: int | None
    error_class: str | None
    status: str
    created_at: Time
    updated_at: Time


class WebhookEventRef(Answer):
    id: UUID
    include: str


class WebhookRef(Answer):
    id: UUID
    level: str


class DeliveryAnswer(Answer):
    created_at: Time
    event: WebhookEventRef
    id: UUID
    num_attempts: int
    next_attempt_at: Time | None
    last_attempt: LastAttempt | None
    status: str
    updated_at: Time
    webhook: WebhookRef


class EventPayload(Answer):
    action: str
    actor: dict[str, str]
    data: dict[str, Any]
    previous_data: dict[str, Any]
    resource: str
    version: str


class WebhookEventAnswer(Answer):
    created_at: Time
    id: UUID
    include: str
    payload: EventPayload
    updated_at: Time


def webhook_answer(app: App, row: Webhook) -> WebhookAnswer:
    return WebhookAnswer(
        app=app_ref(app),
        created_at=row.created_at,
        id=row.pk,
        include=row.include,
        level=row.level,
        updated_at=row.updated_at,
        url=row.url,
    )


def attempt_answer(row: Attempt) -> LastAttempt:
    return LastAttempt(
        id=row.pk,
        code=row.status or None,
        error_class=row.error_id or None,
        status="succeeded" if row.has_succeeded else "failed" if row.has_ended else "scheduled",
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def delivery_answer(row: Delivery) -> DeliveryAnswer:
    attempts = list(row.attempts.all())
    return DeliveryAnswer(
        created_at=row.created_at,
        event=WebhookEventRef(id=row.event.uuid, include=row.event.include),
        id=row.uuid,
        num_attempts=len(attempts),
        next_attempt_at=row.next_attempt_at,
        last_attempt=attempt_answer(attempts[-1]) if attempts else None,
        status=row.status,
        updated_at=row.updated_at,
        webhook=WebhookRef(id=row.webhook_id, level=row.webhook.level),
    )


def event_answer(row: Event) -> WebhookEventAnswer:
    payload = EventPayload(
        action=row.action,
        actor=actor_of(row),
        data=row.data,
        previous_data=row.previous,
        resource=row.include.removeprefix("api:"),
        version=VERSION,
    )
    return WebhookEventAnswer(created_at=row.at, id=row.uuid, include=row.include, payload=payload, updated_at=row.at)


@router.get("/apps/{identity}/webhooks", response=list[WebhookAnswer])
def list_webhooks(request: ApiRequest, identity: str) -> list[WebhookAnswer]:
    app = find_app(request, identity, Role.OPERATOR)
    return [webhook_answer(app, row) for row in page(request, app.webhooks.all())]


@router.post("/apps/{identity}/webhooks", response={201: WebhookAnswer})
def create_webhook(request: ApiRequest, identity: str, body: NewWebhook) -> WebhookAnswer:
    """The secret is in the header `Heroku-Webhook-Secret` of the answer, this once."""
    app = find_app(request, identity, Role.OPERATOR)
    row, secret = webhooks.add_webhook(
        app,
        url=body.url,
        include=body.include,
        level=body.level,
        secret=body.secret,
        authorization=body.authorization,
        by=request.user,
    )
    request.answer_headers[SECRET_HEADER] = secret
    return webhook_answer(app, row)


@router.get("/apps/{identity}/webhooks/{webhook_id}", response=WebhookAnswer)
def webhook_info(request: ApiRequest, identity: str, webhook_id: str) -> WebhookAnswer:
    app = find_app(request, identity, Role.OPERATOR)
    return webhook_answer(app, get_webhook(app, webhook_id))


@router.patch("/apps/{identity}/webhooks/{webhook_id}", response=WebhookAnswer)
def update_webhook(request: ApiRequest, identity: str, webhook_id: str, body: WebhookChange) -> WebhookAnswer:
    app = find_app(request, identity, Role.OPERATOR)
    row = get_webhook(app, webhook_id)
    changes = {name: value for name, value in body.changed().items() if value is not None or name == "authorization"}
    webhooks.change_webhook(row, by=request.user, **changes)
    if body.secret:
        request.answer_headers[SECRET_HEADER] = body.secret
    return webhook_answer(app, row)


@router.delete("/apps/{identity}/webhooks/{webhook_id}", response=WebhookAnswer)
def delete_webhook(request: ApiRequest, identity: str, webhook_id: str) -> WebhookAnswer:
    app = find_app(request, identity, Role.OPERATOR)
    row = get_webhook(app, webhook_id)
    shown = webhook_answer(app, row)
    webhooks.remove_webhook(row, by=request.user)
    return shown


@router.get("/apps/{identity}/webhook-deliveries", response=list[DeliveryAnswer])
def list_deliveries(request: ApiRequest, identity: str) -> list[DeliveryAnswer]:
    """`?eq[status]=failed`: those alone."""
    app = find_app(request, identity, Role.OPERATOR)
    rows = deliveries_of(app)
    status = request.GET.get("eq[status]", "")
    rows = rows.filter(status=status) if status else rows
    return [delivery_answer(row) for row in page(request, rows, ordered_by="seq", seq="number", id="uuid")]


@router.get("/apps/{identity}/webhook-deliveries/{delivery_id}", response=DeliveryAnswer)
def delivery_info(request: ApiRequest, identity: str, delivery_id: str) -> DeliveryAnswer:
    return delivery_answer(get_delivery(find_app(request, identity, Role.OPERATOR), delivery_id))


@router.get("/apps/{identity}/webhook-events", response=list[WebhookEventAnswer])
def list_events(request: ApiRequest, identity: str) -> list[WebhookEventAnswer]:
    rows = events_of(find_app(request, identity))
    return [event_answer(row) for row in page(request, rows, ordered_by="seq", seq="number", id="uuid")]


@router.get("/apps/{identity}/webhook-events/{event_id}", response=WebhookEventAnswer)
def event_info(request: ApiRequest, identity: str, event_id: str) -> WebhookEventAnswer:
    return event_answer(get_event(find_app(request, identity), event_id))
