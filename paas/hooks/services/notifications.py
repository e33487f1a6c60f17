"""Channels: who is told, and the telling."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from paas.accounts.models import User
from paas.apps.models import App, Role
from paas.apps.selectors import role_in
from paas.core import audit
from paas.core.redis import Lease, lease, take_turn
from paas.hooks.models import APP_TOPICS, HOST_TOPICS, Channel, ChannelKind, Message, MessageStatus, Topic
from paas.hooks.rules import checked_target
from paas.hooks.services.notices import MAIL, mail_is_on, tell_channel
from paas.wiring import outbound
from runtime.errors import Conflict, Forbidden, InvalidInput, UserError
from runtime.outbound.api import NotReached
from runtime.outbound.connect import client_tls
from runtime.outbound.urls import parse_url

log = structlog.get_logger()
PAUSES = (10, 60, 300, 1800, 7200)
SECONDS = 10.0
MAX_CHANNELS = 20
_DISCORD = re.compile(r"https://(?:\w+\.)?discord(?:app)?\.com/api/(?:v\d+/)?webhooks/\d+/[\w-]+")
_CALLS = re.compile(r"@(?=everyone|here|channel|all)", re.IGNORECASE)


def topics_for(app: App | None) -> tuple[Topic, ...]:
    return HOST_TOPICS if app is None else APP_TOPICS


@transaction.atomic
def add_mailbox(app: App | None, *, topics: Collection[str], by: User) -> Channel:
    """Mail to oneself: nobody puts somebody else on a list. Raises `Conflict`."""
    checked = _checked_topics(app, topics)
    taken = Conflict("You get these mails already.", hint="Change what they are about instead.", id="in_use")
    if Channel.objects.filter(app=app, user=by).exists():
        raise taken
    try:
        with transaction.atomic():
            channel = Channel.objects.create(app=app, kind=ChannelKind.EMAIL, user=by, topics=checked, created_by=by)
    except IntegrityError as exc:
        raise taken from exc
    _record(channel, "notifications.add", by, after=_told(channel))
    return channel


@transaction.atomic
def add_room(
    app: App | None, *, url: str, topics: Collection[str], name: str = "", kind: str = "chat", by: User
) -> Channel:
    """A room of a chat. Raises `InvalidInput` and `Conflict`."""
    if kind not in {ChannelKind.CHAT, ChannelKind.TEAMS}:
        raise InvalidInput(f"{kind[:40]!r} is no kind of chat.", hint="Choose chat or teams.", id="invalid_channel")
    if _DISCORD.fullmatch(url):
        url += "/slack"  # there it takes the same as Slack
    checked_target(url)
    if Channel.objects.filter(app=app).count() >= MAX_CHANNELS:
        raise Conflict(f"There are {MAX_CHANNELS} notifications already, which is the limit.", id="too_many_channels")
    channel = Channel.objects.create(
        app=app, kind=kind, url=url, name=" ".join(name.split())[:100] or _host(url), created_by=by,
        topics=_checked_topics(app, topics),
    )  # fmt: skip
    _record(channel, "notifications.add", by, after=_told(channel))
    return channel


@transaction.atomic
def change_topics(channel: Channel, topics: Collection[str], *, by: User) -> None:
    """Raises `InvalidInput`. Saying it twice changes nothing."""
    before, after = _told(channel), _checked_topics(channel.app, topics)
    if after == channel.topics:
        return
    channel.topics = after
    channel.save(update_fields=["topics", "updated_at"])
    _record(channel, "notifications.change", by, before=before, after=_told(channel))


@transaction.atomic
def remove_channel(channel: Channel, *, by: User) -> None:
    _record(channel, "notifications.remove", by, before=_told(channel))
    channel.delete()


def check_may_change(channel: Channel, by: User) -> None:
    """One's own mails, or the rooms of an app that one operates. Those of the machine are seen by admins alone. Raises
    `Forbidden`."""
    if channel.user_id is not None and channel.user_id != by.pk and not by.is_admin:
        raise Forbidden("These are somebody else's mails.", hint="They can switch them off.")
    is_room = channel.user_id is None
    if is_room and channel.app is not None and (role_in(channel.app, by) or Role.VIEWER) < Role.OPERATOR:
        raise Forbidden("This takes an operator of the app.")


def send_test(channel: Channel, *, by: User) -> Message:
    """At once, so that whoever asked sees what came of it. Raises what went wrong."""
    about = channel.app.name if channel.app else str(settings.ENV.domain)
    if channel.kind == ChannelKind.EMAIL and not mail_is_on():
        raise Conflict(
            "This platform sends no mail.", hint="An admin can name a mail server with PAAS_SMTP_URL.", id="mail_off"
        )
    key = f"test:{timezone.now():%Y%m%d%H%M%S%f}"
    text = f"This is a test that {by.email} asked for. What is to be told of {about} will arrive here."
    with transaction.atomic():
        _record(channel, "notifications.test", by)
        message = tell_channel(channel, "test", f"{about}: a test", text, settings.ENV.address("dashboard"), key=key)
    if message is None:
        raise Conflict("Too many messages within an hour.", hint="Try it again later.", id="too_many_messages")
    message.channel = channel
    with lease(_turn(channel.pk), wait_seconds=5):
        message.refresh_from_db(fields=["status", "tries", "next_try_at"])
        if message.status == MessageStatus.PENDING:
            _send_one(message, raises=True)
    return message


def channels_with_work() -> set[str]:
    due = Message.objects.filter(status=MessageStatus.PENDING, next_try_at__lte=timezone.now())
    found = due.order_by().values_list("channel", flat=True).distinct()
    return {MAIL if each is None else str(each) for each in found}


def send_messages(channel_id: str) -> None:
    """All that are due. Returns at once when somebody is at it: they look again."""

    def send_due(held: Lease) -> None:
        for message in _due(channel_id):
            held.check()
            _send_one(message)

    take_turn(_turn(channel_id), send_due)


def _turn(channel_id: object) -> str:
    return f"hooks:channel:{channel_id}"


def _due(channel_id: str) -> list[Message]:
    rows = Message.objects.filter(status=MessageStatus.PENDING, next_try_at__lte=timezone.now())
    rows = rows.filter(channel=None) if channel_id == MAIL else rows.filter(channel_id=channel_id)
    return list(rows.select_related("channel", "channel__app", "channel__user").order_by("created_at")[:50])


def _send_one(message: Message, *, raises: bool = False) -> None:
    message.tries += 1
    failure: UserError | NotReached | None = None
    try:
        _send(message)
    except (NotReached, UserError) as exc:
        failure = exc
    if failure is None:
        message.status, message.sent_at, message.next_try_at, message.error = MessageStatus.SENT, timezone.now(), None, ""
    elif isinstance(failure, UserError) or message.tries > len(PAUSES) or raises:
        message.status, message.next_try_at, message.error = MessageStatus.FAILED, None, failure.message[:300]
    else:
        message.next_try_at = timezone.now() + timedelta(seconds=PAUSES[message.tries - 1])
        message.error = failure.message[:300]
    if message.channel is None and message.status != MessageStatus.PENDING:
        message.text = ""  # it may hold the secret of a link
    message.save(update_fields=["tries", "status", "sent_at", "next_try_at", "error", "text", "updated_at"])
    log.info("message_sent" if failure is None else "message_not_sent", message=str(message.pk), topic=message.topic)
    if failure is not None and raises:
        raise failure


def _send(message: Message) -> None:
    """Raises `NotReached`, which may pass, or a `UserError`, which does not."""
    channel = message.channel
    if channel is None:
        _mail(message.address, message)
    elif channel.user is not None:
        if not channel.user.is_active or not _may_hear(channel, channel.user):
            raise Forbidden(f"{channel.user.email} may not see this any more.")
        _mail(channel.user.email, message)
    else:
        _post(channel, message)


def _may_hear(channel: Channel, user: User) -> bool:
    return user.is_admin if channel.app is None else role_in(channel.app, user) is not None


def _mail(address: str, message: Message) -> None:
    from runtime.outbound.mail import compose, hand_over

    if not mail_is_on():
        raise Conflict("This platform sends no mail.", id="mail_off")
    text = f"{message.text}\n\n{message.link}".rstrip() + "\n"
    mail = compose(sender=settings.ENV.mail_from, to=address, subject=message.subject, text=text)
    hand_over(settings.ENV.smtp_url, mail, client_tls(settings.ENV.ca_bundle))


def _post(channel: Channel, message: Message) -> None:
    url = str(channel.url)
    make = card if channel.kind == ChannelKind.TEAMS else chat_text
    body = json.dumps(make(message.subject, message.text, message.link)).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "paas-notifications/1"}
    answer = outbound().post(url, body, headers, seconds=SECONDS)
    if not 200 <= answer.status < 300:
        words = f"{_host(url)} answered {answer.status}: {answer.excerpt[:120]}".rstrip(": ")
        if answer.status in {400, 401, 403, 404, 405, 410}:
            raise Conflict(words, hint="The address of the room may be gone.", id="room_refused")
        raise NotReached(words, id="room_refused")


def chat_text(subject: str, text: str, link: str) -> dict[str, Any]:
    """What Slack, Mattermost, Rocket.Chat and Discord's /slack take alike. What an app printed calls nobody."""
    words = f"*{subject}*\n{text}"
    for character, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        words = words.replace(character, written)
    return {"text": _CALLS.sub("@\u200b", words) + f"\n{link}"}


def card(subject: str, text: str, link: str) -> dict[str, Any]:
    """For a workflow of Teams, which takes nothing but Adaptive Cards."""
    blocks = [
        {"type": "TextBlock", "text": subject, "weight": "Bolder", "wrap": True},
        {"type": "TextBlock", "text": text.replace("\n", "\n\n"), "wrap": True},
    ]
    content = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": blocks,
        "actions": [{"type": "Action.OpenUrl", "title": "Look at it", "url": link}],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": content}
    return {"type": "message", "attachments": [attachment]}


def _checked_topics(app: App | None, topics: Collection[str]) -> list[str]:
    known = topics_for(app)
    strange = sorted(set(topics) - {str(each) for each in known})
    if strange or not topics:
        what = f"{strange[0][:40]!r} is nothing to be told of." if strange else "A notification is about something."
        raise InvalidInput(what, hint=f"Choose from: {', '.join(known)}.", id="invalid_topic")
    return [str(each) for each in known if each in topics]


def _host(url: str) -> str:
    return parse_url(url).host


def _told(channel: Channel) -> dict[str, Any]:
    """For the audit log. Whoever knows the URL of a room can write to it."""
    return {"to": str(channel), "topics": list(channel.topics)}


def _record(channel: Channel, action: str, by: User, **moved: Any) -> None:
    app = channel.app
    app_id, name = (app.pk, app.name) if app else (None, "")
    audit.record(action, by=by, app_id=app_id, app_name=name, channel=str(channel.pk), **moved)
