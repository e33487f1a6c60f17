"""Who hears of an app: its webhooks with what became of each delivery, its notifications, its log drains."""

from __future__ import annotations

from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from paas.accounts.selectors import check_admin
from paas.apps.models import App, Role
from paas.apps.selectors import get_app
from paas.core.events import Include
from paas.dashboard.forms import refusals_shown, text
from paas.dashboard.once import show_once, take_once
from paas.dashboard.requests import access_to, current_user
from paas.hooks.models import DEFAULT_TOPICS, Channel, ChannelKind, DeliveryStatus, Level, MessageStatus, Topic
from paas.hooks.rules import MAX_TRIES
from paas.hooks.selectors import (
    channels_of,
    deliveries_of,
    drains_of,
    get_channel,
    get_delivery,
    get_drain,
    get_webhook,
    is_failing,
)
from paas.hooks.services import drains, notifications, webhooks
from paas.hooks.services.notices import mail_is_on
from runtime.errors import Failure
from runtime.outbound.urls import shown_url

PER_PAGE = 30
EVENT_WORDS = {
    Include.RELEASE: "Releases: made, live, failed",
    Include.BUILD: "Builds: begun, ended",
    Include.INSTANCE: "Instances: up, crashed, gone",
    Include.FORMATION: "Scale",
    Include.CONFIG: "Config vars: names, never values",
    Include.APP: "The app: created, changed, destroyed",
    Include.DOMAIN: "Domains",
    Include.PORT: "Public ports",
}


class WebhookForm(forms.Form):
    url = forms.CharField(
        label="URL", max_length=2000, widget=text(placeholder="https://hooks.example.com/paas", inputmode="url")
    )
    include = forms.MultipleChoiceField(
        label="What it is told of",
        choices=[(each.value, words) for each, words in EVENT_WORDS.items()],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one."},
    )
    level = forms.ChoiceField(
        label="When it does not arrive",
        choices=[(Level.SYNC, f"Try again, up to {MAX_TRIES} times within a day"), (Level.NOTIFY, "Let it be")],
    )
    authorization = forms.CharField(
        label="Authorization header",
        required=False,
        max_length=1000,
        widget=text(placeholder="Bearer …"),
        help_text="Sent as it is with every request.",
    )


class TopicsForm(forms.Form):
    topics = forms.MultipleChoiceField(
        label="About what", widget=forms.CheckboxSelectMultiple, error_messages={"required": "Choose at least one."}
    )

    def __init__(self, *args: object, app: App | None, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        field = self.fields["topics"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = [(each.value, each.label) for each in notifications.topics_for(app)]
        field.initial = [each.value for each in notifications.topics_for(app) if each in {*DEFAULT_TOPICS, Topic.DISK}]


class RoomForm(TopicsForm):
    url = forms.CharField(
        label="Incoming webhook of the room",
        max_length=2000,
        widget=text(placeholder="https://hooks.slack.com/services/…", inputmode="url"),
        help_text="Whoever knows it can write to the room. It is kept encrypted.",
    )
    kind = forms.ChoiceField(
        label="Chat",
        choices=[
            (ChannelKind.CHAT, "Slack, Mattermost, Rocket.Chat, Discord"),
            (ChannelKind.TEAMS, "Microsoft Teams (a workflow)"),
        ],
    )
    name = forms.CharField(label="Name", required=False, max_length=100, widget=text(mono=False, placeholder="#deploys"))
    field_order = ("kind", "url", "name", "topics")


class DrainForm(forms.Form):
    url = forms.CharField(
        label="URL", max_length=2000, widget=text(placeholder="syslog+tls://logs.example.com:6514", inputmode="url")
    )


# Webhooks


@require_GET
@login_required
def webhook_list(request: HttpRequest, name: str) -> HttpResponse:
    return _webhooks(request, get_app(current_user(request), name))


@require_POST
@login_required
def add_webhook(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR)
    form = WebhookForm(request.POST)
    if form.is_valid():
        with refusals_shown(form, "url"):
            row, secret = webhooks.add_webhook(app, **form.cleaned_data, by=user)
            show_once(request, f"webhook:{row.pk}", secret)
            return redirect("webhook", name=app.name, webhook_id=row.pk)
    return _webhooks(request, app, form=form, status=422)


def _webhooks(request: HttpRequest, app: App, *, form: WebhookForm | None = None, status: int = 200) -> HttpResponse:
    access = access_to(app, current_user(request))
    rows = []
    for row in app.webhooks.all() if access.can_operate else ():
        last = row.deliveries.exclude(status=DeliveryStatus.PENDING).order_by("-number").first()
        rows.append({"webhook": row, "url": shown_url(row.url), "last": last, "is_failing": is_failing(row)})
    context = {
        "app": app,
        "access": access,
        "rows": rows,
        "form": form or WebhookForm(initial={"include": [Include.RELEASE, Include.BUILD], "level": Level.SYNC}),
        "example": f"paas webhooks:add https://hooks.example.com/paas -i api:release -a {app.name}",
    }
    return render(request, "dashboard/hooks/webhooks.html", context, status=status)


@never_cache
@require_GET
@login_required
def webhook(request: HttpRequest, name: str, webhook_id: UUID) -> HttpResponse:
    return _webhook(request, get_app(current_user(request), name, Role.OPERATOR), webhook_id)


def _webhook(
    request: HttpRequest,
    app: App,
    webhook_id: UUID,
    *,
    form: WebhookForm | None = None,
    status: int = 200,
) -> HttpResponse:
    row = get_webhook(app, webhook_id)
    rows = deliveries_of(app).filter(webhook=row)
    wanted = request.GET.get("status", "")
    if wanted in set(DeliveryStatus):
        rows = rows.filter(status=wanted)
    initial = {
        "url": row.url,
        "include": row.include,
        "level": row.level,
        "authorization": row.authorization or "",
    }
    context = {
        "app": app,
        "access": access_to(app, current_user(request)),
        "webhook": row,
        "url": shown_url(row.url),
        "secret": take_once(request, f"webhook:{row.pk}"),
        "is_failing": is_failing(row),
        "includes": [(each, EVENT_WORDS[Include(each)]) for each in row.include if each in set(Include)],
        "page": Paginator(rows, PER_PAGE).get_page(request.GET.get("page")),
        "wanted": wanted,
        "states": list(DeliveryStatus.values),
        "form": form or WebhookForm(initial=initial),
        "is_editing": form is not None,
    }
    return render(request, "dashboard/hooks/webhook.html", context, status=status)


@require_POST
@login_required
def change_webhook(request: HttpRequest, name: str, webhook_id: UUID) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR)
    form = WebhookForm(request.POST)
    if form.is_valid():
        with refusals_shown(form, "url"):
            webhooks.change_webhook(get_webhook(app, webhook_id), by=user, **form.cleaned_data)
            messages.success(request, "The webhook is changed.")
            return redirect("webhook", name=app.name, webhook_id=webhook_id)
    return _webhook(request, app, webhook_id, form=form, status=422)


@require_POST
@login_required
def remove_webhook(request: HttpRequest, name: str, webhook_id: UUID) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR)
    webhooks.remove_webhook(get_webhook(app, webhook_id), by=user)
    messages.success(request, "The webhook is removed. What was not delivered yet will not be.")
    return redirect("webhooks", name=app.name)


@require_POST
@login_required
def switch_on_webhook(request: HttpRequest, name: str, webhook_id: UUID) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR)
    webhooks.switch_on(get_webhook(app, webhook_id), by=user)
    messages.success(request, "The webhook is on again.")
    return redirect("webhook", name=app.name, webhook_id=webhook_id)


@require_POST
@login_required
def redeliver(request: HttpRequest, name: str, delivery_id: UUID) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR)
    delivery = get_delivery(app, delivery_id)
    webhooks.redeliver(delivery, by=user)
    messages.success(request, "It is being delivered again.")
    return redirect("webhook", name=app.name, webhook_id=delivery.webhook_id)


# Notifications: of an app, or of the machine, which is the admins' affair


@require_GET
@login_required
def notification_list(request: HttpRequest, name: str = "") -> HttpResponse:
    return _notifications(request, _scope(request, name))


def _scope(request: HttpRequest, name: str, role: Role = Role.VIEWER) -> App | None:
    user = current_user(request)
    if name:
        return get_app(user, name, role)
    check_admin(user)
    return None


@require_POST
@login_required
def add_notification(request: HttpRequest, name: str = "") -> HttpResponse:
    """A room."""
    user = current_user(request)
    app = _scope(request, name, Role.OPERATOR)
    form = RoomForm(request.POST, app=app)
    if form.is_valid():
        with refusals_shown(form, "url"):
            channel = notifications.add_room(app, **form.cleaned_data, by=user)
            messages.success(request, f"{channel} will be told. Send it a test.")
            return _to_notifications(app)
    return _notifications(request, app, form=form, status=422)


@require_POST
@login_required
def mail_me(request: HttpRequest, name: str = "") -> HttpResponse:
    """Begin, change or end one's own mails: no topic ends them."""
    user = current_user(request)
    app = _scope(request, name)
    topics = request.POST.getlist("topics")
    channel = channels_of(app).filter(user=user).first()
    if channel is None and topics:
        notifications.add_mailbox(app, topics=topics, by=user)
        messages.success(request, f"Mails go to {user.email}.")
    elif channel is not None and topics:
        notifications.change_topics(channel, topics, by=user)
        messages.success(request, "Your mails are changed.")
    elif channel is not None:
        notifications.remove_channel(channel, by=user)
        messages.success(request, "You get no more mails from here.")
    return _to_notifications(app)


@require_POST
@login_required
def remove_notification(request: HttpRequest, channel_id: UUID, name: str = "") -> HttpResponse:
    app = _scope(request, name)
    channel = _own(request, app, channel_id)
    notifications.remove_channel(channel, by=current_user(request))
    messages.success(request, f"{channel} is told nothing more.")
    return _to_notifications(app)


@require_POST
@login_required
def try_notification(request: HttpRequest, channel_id: UUID, name: str = "") -> HttpResponse:
    app = _scope(request, name)
    channel = _own(request, app, channel_id)
    try:
        notifications.send_test(channel, by=current_user(request))
    except Failure as exc:
        messages.error(request, str(exc))
    else:
        messages.success(request, f"The test has been sent to {channel}.")
    return _to_notifications(app)


def _own(request: HttpRequest, app: App | None, channel_id: UUID) -> Channel:
    channel = get_channel(app, channel_id)
    notifications.check_may_change(channel, current_user(request))
    return channel


def _to_notifications(app: App | None) -> HttpResponse:
    return redirect("notifications", name=app.name) if app else redirect("host_notifications")


def _notifications(
    request: HttpRequest, app: App | None, *, form: RoomForm | None = None, status: int = 200
) -> HttpResponse:
    user = current_user(request)
    rows, mine = [], None
    for channel in channels_of(app):
        last = channel.messages.exclude(status=MessageStatus.PENDING).last()
        row = {
            "channel": channel,
            "topics": [Topic(each).label for each in channel.topics if each in set(Topic)],
            "last": last,
        }
        if channel.user_id == user.pk:
            mine = row
        else:
            rows.append(row)
    topics = mine["channel"].topics if mine else []  # type: ignore[attr-defined]
    context = {
        "app": app,
        "access": access_to(app, user) if app else None,
        "may_add": app is None or access_to(app, user).can_operate,
        "rows": rows,
        "mine": mine,
        "mail": mail_is_on(),
        "mail_choices": [(each.value, each.label, each.value in topics) for each in notifications.topics_for(app)],
        "form": form or RoomForm(app=app),
        "of": app.name if app else "this machine",
    }
    template = "dashboard/hooks/notifications.html" if app else "dashboard/hooks/host_notifications.html"
    return render(request, template, context, status=status)


# Log drains


@require_GET
@login_required
def drain_list(request: HttpRequest, name: str) -> HttpResponse:
    return _drains(request, get_app(current_user(request), name))


@require_POST
@login_required
def add_drain(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR)
    form = DrainForm(request.POST)
    if form.is_valid():
        with refusals_shown(form, "url"):
            drains.add_drain(app, form.cleaned_data["url"], by=user)
            messages.success(request, f"The log of {app.name} goes there from now on.")
            return redirect("drains", name=app.name)
    return _drains(request, app, form=form, status=422)


@require_POST
@login_required
def remove_drain(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR)
    drains.remove_drain(get_drain(app, request.POST.get("token", "")), by=user)
    messages.success(request, "The log goes there no more.")
    return redirect("drains", name=app.name)


def _drains(request: HttpRequest, app: App, *, form: DrainForm | None = None, status: int = 200) -> HttpResponse:
    access = access_to(app, current_user(request))
    rows = drains_of(app) if access.can_operate else ()
    context = {
        "app": app,
        "access": access,
        "rows": [{"drain": row, "url": shown_url(row.url), "state": drains.state_of(row)} for row in rows],
        "form": form or DrainForm(),
        "example": f"paas drains:add syslog+tls://logs.example.com:6514 -a {app.name}",
    }
    return render(request, "dashboard/hooks/drains.html", context, status=status)


urlpatterns = [
    path("apps/<str:name>/settings/webhooks", webhook_list, name="webhooks"),
    path("apps/<str:name>/settings/webhooks/add", add_webhook, name="webhook-add"),
    path("apps/<str:name>/settings/webhooks/<uuid:webhook_id>", webhook, name="webhook"),
    path("apps/<str:name>/settings/webhooks/<uuid:webhook_id>/change", change_webhook, name="webhook-change"),
    path("apps/<str:name>/settings/webhooks/<uuid:webhook_id>/remove", remove_webhook, name="webhook-remove"),
    path("apps/<str:name>/settings/webhooks/<uuid:webhook_id>/on", switch_on_webhook, name="webhook-on"),
    path("apps/<str:name>/settings/deliveries/<uuid:delivery_id>/again", redeliver, name="redeliver"),
    path("apps/<str:name>/settings/notifications", notification_list, name="notifications"),
    path("apps/<str:name>/settings/notifications/add", add_notification, name="notification-add"),
    path("apps/<str:name>/settings/notifications/mail", mail_me, name="notification-mail"),
    path("apps/<str:name>/settings/notifications/<uuid:channel_id>/test", try_notification, name="notification-test"),
    path(
        "apps/<str:name>/settings/notifications/<uuid:channel_id>/remove", remove_notification, name="notification-remove"
    ),
    path("apps/<str:name>/settings/drains", drain_list, name="drains"),
    path("apps/<str:name>/settings/drains/add", add_drain, name="drain-add"),
    path("apps/<str:name>/settings/drains/remove", remove_drain, name="drain-remove"),
    path("host/notifications", notification_list, name="host_notifications"),
    path("host/notifications/add", add_notification, name="host_notification-add"),
    path("host/notifications/mail", mail_me, name="host_notification-mail"),
    path("host/notifications/<uuid:channel_id>/test", try_notification, name="host_notification-test"),
    path("host/notifications/<uuid:channel_id>/remove", remove_notification, name="host_notification-remove"),
]
