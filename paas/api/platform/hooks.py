"""Of webhooks and drains what Heroku does not tell; and notifications, which it does not have."""

from __future__ import annotations

from uuid import UUID

from ninja import Router

from paas.accounts.selectors import check_admin
from paas.api.auth import ApiRequest, find_app
from paas.api.ranges import page
from paas.api.schemas import Answer, Body, Time
from paas.api.v3.log_drains import DrainAnswer, NewDrain, drain_answer
from paas.api.v3.webhooks import DeliveryAnswer, delivery_answer
from paas.apps.models import App, Role
from paas.hooks.models import Channel, Drain, MessageStatus, Webhook
from paas.hooks.selectors import channels_of, drains_of, get_channel, get_delivery, get_drain, get_webhook
from paas.hooks.services import drains, notifications, webhooks
from paas.hooks.services.notices import mail_is_on
from runtime.outbound.urls import shown_url

router = Router(tags=["Webhooks, drains and notifications"])


class WebhookDetails(Answer):
    id: UUID
    url: str
    include: list[str]
    level: str
    failures: int
    switched_off_at: Time | None
    waiting: int


class DeliveryAttempt(Answer):
    id: UUID
    code: int | None
    error: str | None
    error_id: str | None
    milliseconds: int
    excerpt: str
    created_at: Time


class DrainDetails(Answer):
    id: UUID
    token: str
    url: str
    sent: int
    dropped: int
    behind_seconds: float
    error: str | None
    at: Time | None


class NotificationAnswer(Answer):
    id: UUID
    kind: str
    name: str
    email: str | None
    topics: list[str]
    last_sent_at: Time | None
    last_error: str | None


class NotificationList(Answer):
    channels: list[NotificationAnswer]
    topics: list[str]
    mail: bool


class NewNotification(Body):
    kind: str
    url: str = ""
    name: str = ""
    topics: list[str]


class NotificationChange(Body):
    topics: list[str]


def _state(row: Webhook) -> WebhookDetails:
    return WebhookDetails(
        id=row.pk,
        url=shown_url(row.url),
        include=row.include,
        level=row.level,
        failures=row.failures,
        switched_off_at=row.switched_off_at,
        waiting=row.deliveries.filter(status__in=["pending", "retrying"]).count(),
    )


def _drain_state(row: Drain) -> DrainDetails:
    state = drains.state_of(row)
    return DrainDetails(
        id=row.pk,
        token=row.token,
        url=shown_url(row.url),
        sent=state.sent,
        dropped=state.dropped,
        behind_seconds=state.behind_seconds,
        error=state.error or None,
        at=state.looked_at,
    )


def _channel(row: Channel) -> NotificationAnswer:
    last = row.messages.exclude(status=MessageStatus.PENDING).last()
    return NotificationAnswer(
        id=row.pk,
        kind=row.kind,
        name=str(row),
        email=row.user.email if row.user else None,
        topics=row.topics,
        last_sent_at=last.sent_at if last else None,
        last_error=(last.error or None) if last else None,
    )


@router.get("/apps/{identity}/webhook-details", response=list[WebhookDetails])
def webhook_details(request: ApiRequest, identity: str) -> list[WebhookDetails]:
    app = find_app(request, identity, Role.OPERATOR)
    return [_state(row) for row in page(request, app.webhooks.all())]


@router.post("/apps/{identity}/webhooks/{webhook_id}/switch-on", response=WebhookDetails)
def switch_on(request: ApiRequest, identity: str, webhook_id: str) -> WebhookDetails:
    """After many failures it was switched off."""
    app = find_app(request, identity, Role.OPERATOR)
    webhooks.switch_on(get_webhook(app, webhook_id), by=request.user)
    return _state(get_webhook(app, webhook_id))


@router.get("/apps/{identity}/webhook-deliveries/{delivery_id}/attempts", response=list[DeliveryAttempt])
def attempts(request: ApiRequest, identity: str, delivery_id: str) -> list[DeliveryAttempt]:
    """With the beginning of what the receiver answered."""
    delivery = get_delivery(find_app(request, identity, Role.OPERATOR), delivery_id)
    return [
        DeliveryAttempt(
            id=row.pk,
            code=row.status or None,
            error=row.error or None,
            error_id=row.error_id or None,
            milliseconds=row.milliseconds,
            excerpt=row.excerpt,
            created_at=row.created_at,
        )
        for row in delivery.attempts.all()
    ]


@router.post("/apps/{identity}/webhook-deliveries/{delivery_id}/redeliver", response=DeliveryAnswer)
def redeliver(request: ApiRequest, identity: str, delivery_id: str) -> DeliveryAnswer:
    """Once more, at once."""
    app = find_app(request, identity, Role.OPERATOR)
    webhooks.redeliver(get_delivery(app, delivery_id), by=request.user)
    return delivery_answer(get_delivery(app, delivery_id))


@router.get("/apps/{identity}/drain-details", response=list[DrainDetails])
def drain_details(request: ApiRequest, identity: str) -> list[DrainDetails]:
    """How far each is, and what keeps it."""
    app = find_app(request, identity, Role.OPERATOR)
    return [_drain_state(row) for row in page(request, drains_of(app))]


@router.get("/log-drains", response=list[DrainAnswer])
def list_host_drains(request: ApiRequest) -> list[DrainAnswer]:
    """Those that get the logs of all apps."""
    check_admin(request.user)
    return [drain_answer(row) for row in page(request, drains_of(None))]


@router.post("/log-drains", response={201: DrainAnswer})
def create_host_drain(request: ApiRequest, body: NewDrain) -> DrainAnswer:
    check_admin(request.user)
    return drain_answer(drains.add_drain(None, body.url, by=request.user))


@router.delete("/log-drains/{path:drain}", response=DrainAnswer)
def delete_host_drain(request: ApiRequest, drain: str) -> DrainAnswer:
    check_admin(request.user)
    row = get_drain(None, drain)
    shown = drain_answer(row)
    drains.remove_drain(row, by=request.user)
    return shown


def _scope(request: ApiRequest, identity: str | None, role: Role = Role.VIEWER) -> App | None:
    """The app, or the machine, which is the admins' affair."""
    if identity is not None:
        return find_app(request, identity, role)
    check_admin(request.user)
    return None


def _list(app: App | None) -> NotificationList:
    return NotificationList(
        channels=[_channel(row) for row in channels_of(app)],
        topics=list(notifications.topics_for(app)),
        mail=mail_is_on(),
    )


def _add(request: ApiRequest, app: App | None, body: NewNotification) -> NotificationAnswer:
    if body.kind == "email":
        return _channel(notifications.add_mailbox(app, topics=body.topics, by=request.user))
    return _channel(
        notifications.add_room(app, url=body.url, topics=body.topics, name=body.name, kind=body.kind, by=request.user)
    )


def _own(request: ApiRequest, app: App | None, channel_id: str) -> Channel:
    channel = get_channel(app, channel_id)
    notifications.check_may_change(channel, request.user)
    return channel


@router.get("/apps/{identity}/notifications", response=NotificationList)
def list_notifications(request: ApiRequest, identity: str) -> NotificationList:
    """Who is told what; the `topics` there are, and whether the platform sends mail."""
    return _list(_scope(request, identity))


@router.post("/apps/{identity}/notifications", response={201: NotificationAnswer})
def add_notification(request: ApiRequest, identity: str, body: NewNotification) -> NotificationAnswer:
    """`kind` `email`: to yourself. `chat` (Slack, Mattermost, Discord) or `teams`: to the room of that `url`."""
    role = Role.VIEWER if body.kind == "email" else Role.OPERATOR
    return _add(request, _scope(request, identity, role), body)


@router.patch("/apps/{identity}/notifications/{channel_id}", response=NotificationAnswer)
def change_notification(
    request: ApiRequest, identity: str, channel_id: str, body: NotificationChange
) -> NotificationAnswer:
    channel = _own(request, _scope(request, identity), channel_id)
    notifications.change_topics(channel, body.topics, by=request.user)
    return _channel(channel)


@router.delete("/apps/{identity}/notifications/{channel_id}", response=NotificationAnswer)
def remove_notification(request: ApiRequest, identity: str, channel_id: str) -> NotificationAnswer:
    channel = _own(request, _scope(request, identity), channel_id)
    shown = _channel(channel)
    notifications.remove_channel(channel, by=request.user)
    return shown


@router.post("/apps/{identity}/notifications/{channel_id}/test", response=NotificationAnswer)
def test_notification(request: ApiRequest, identity: str, channel_id: str) -> NotificationAnswer:
    """Sends one now, and says what came of it."""
    channel = _own(request, _scope(request, identity), channel_id)
    notifications.send_test(channel, by=request.user)
    return _channel(channel)


@router.get("/notifications", response=NotificationList)
def list_host_notifications(request: ApiRequest) -> NotificationList:
    """Of the machine itself."""
    return _list(_scope(request, None))


@router.post("/notifications", response={201: NotificationAnswer})
def add_host_notification(request: ApiRequest, body: NewNotification) -> NotificationAnswer:
    return _add(request, _scope(request, None), body)


@router.patch("/notifications/{channel_id}", response=NotificationAnswer)
def change_host_notification(request: ApiRequest, channel_id: str, body: NotificationChange) -> NotificationAnswer:
    channel = _own(request, _scope(request, None), channel_id)
    notifications.change_topics(channel, body.topics, by=request.user)
    return _channel(channel)


@router.delete("/notifications/{channel_id}", response=NotificationAnswer)
def remove_host_notification(request: ApiRequest, channel_id: str) -> NotificationAnswer:
    channel = _own(request, _scope(request, None), channel_id)
    shown = _channel(channel)
    notifications.remove_channel(channel, by=request.user)
    return shown


@router.post("/notifications/{channel_id}/test", response=NotificationAnswer)
def test_host_notification(request: ApiRequest, channel_id: str) -> NotificationAnswer:
    channel = _own(request, _scope(request, None), channel_id)
    notifications.send_test(channel, by=request.user)
    return _channel(channel)
