"""Which of what happened is worth a message, in words, and to whom. What goes on being wrong is told once."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from paas.apps.models import App
from paas.builds.models import Build, BuildStatus
from paas.convergence.models import Instance, InstanceState
from paas.core import applog
from paas.core.events import Include
from paas.core.models import Event
from paas.core.queue import send
from paas.hooks.models import Channel, ChannelKind, Message, Topic, Trouble, Webhook
from paas.releases.models import Release, ReleaseKind, ReleaseStatus
from runtime.outbound.urls import shown_url

log = structlog.get_logger()
CRASHES = 3  # in a row, until it is called a loop
STEADY = timedelta(seconds=60)
SAME_AGAIN = timedelta(hours=1)  # a trouble that comes back sooner is not told again
MAX_PER_HOUR = 30
DISK_FULL_PERCENT = 90
DISK_FREE_AGAIN_PERCENT = 85
DEPLOYS = frozenset({ReleaseKind.DEPLOY, ReleaseKind.TAG, ReleaseKind.ROLLBACK})
MAIL = "mail"  # instead of a channel's id: mails to one address


def notice_of(event: Event) -> None:
    """Within the transaction that takes the event."""
    match event.include, event.data.get("status") or event.data.get("state"):
        case Include.RELEASE, ("failed" | "succeeded"):
            _release_ended(event)
        case Include.BUILD, "failed":
            _build_failed(event)
        case Include.INSTANCE, InstanceState.CRASHED if event.data.get("crashes", 0) >= CRASHES:
            _crashed(event)


def _release_ended(event: Event) -> None:
    release = Release.objects.filter(pk=event.data["id"]).select_related("app", "created_by").first()
    if release is None or release.image_id is None:
        return
    name, link = event.app_name, _link(f"apps/{event.app_name}/releases/{release.version}")
    by = f" by {release.created_by.email}" if release.created_by else ""
    if release.status == ReleaseStatus.FAILED:
        text = f"{release.description}{by}.\n\n{release.reason}\n{release.hint}".strip()
        tell(
            release.app,
            Topic.DEPLOY_FAILED,
            f"{name}: v{release.version} failed",
            text,
            link,
            key=f"release:{release.pk}",
        )
    elif release.status == ReleaseStatus.SUCCEEDED and release.kind in DEPLOYS:
        text = f"{release.description}{by}."
        subject = f"{name}: v{release.version} is live"
        tell(release.app, Topic.DEPLOYED, subject, text, link, key=f"release:{release.pk}")


def _build_failed(event: Event) -> None:
    build = Build.objects.filter(pk=event.data["id"]).select_related("app", "created_by", "release").first()
    if build is None or build.status != BuildStatus.FAILED:
        return  # somebody cancelled it, or a newer push took its place
    if build.release is not None and build.release.status == ReleaseStatus.FAILED:
        return  # told with the release
    by = f" by {build.created_by.email}" if build.created_by else ""
    text = f"{build.new[:12]} {build.commit_subject}{by}.\n\n{build.reason}\n{build.hint}".strip()
    subject, link = (
        f"{event.app_name}: build {build.number} failed",
        _link(f"apps/{event.app_name}/builds/{build.number}"),
    )
    tell(build.app, Topic.DEPLOY_FAILED, subject, text, link, key=f"build:{build.pk}")


def _crashed(event: Event) -> None:
    app = App.objects.filter(pk=event.app_id, destroyed_at=None).first()
    if app is None:
        return
    name, version = event.data["name"], event.data["release"]["version"]
    trouble = _begin(app, Topic.CRASH_LOOP, f"{name} of v{version}")
    if trouble is None:
        return
    reason = event.data.get("reason") or "it does not come up"
    text = (
        f"{name} of v{version} has crashed {event.data['crashes']} times in a row: {reason}.\n"
        "It is started again, later and later."
    )
    _tell_trouble(trouble, f"{app.name}: {name} keeps crashing", text, _link(f"apps/{app.name}/logs"))


def _begin(app: App | None, topic: Topic, about: str) -> Trouble | None:
    """None when it is known already."""
    if Trouble.objects.filter(app=app, topic=topic, over_at=None).exists():
        return None
    try:
        with transaction.atomic():
            return Trouble.objects.create(app=app, topic=topic, about=about)
    except IntegrityError:
        return None


def _tell_trouble(trouble: Trouble, subject: str, text: str, link: str) -> None:
    """Unless the same has been told a moment ago: what comes and goes is one trouble."""
    lately = Trouble.objects.filter(
        app=trouble.app, topic=trouble.topic, about=trouble.about, was_told=True,
        created_at__gt=timezone.now() - SAME_AGAIN,
    )  # fmt: skip
    if lately.exists():
        return
    Trouble.objects.filter(pk=trouble.pk).update(was_told=True)
    tell(trouble.app, Topic(trouble.topic), subject, text, link, key=f"trouble:{trouble.pk}")


def close_troubles() -> None:
    """For the sweep: what is over, and has been for a minute."""
    now = timezone.now()
    for trouble in Trouble.objects.filter(over_at=None, app__isnull=False).select_related("app"):
        app = trouble.app
        assert app is not None
        instances = list(Instance.objects.filter(app=app))
        if any(each.state != InstanceState.UP or each.since > now - STEADY for each in instances):
            continue
        with transaction.atomic():
            if not Trouble.objects.filter(pk=trouble.pk, over_at=None).update(over_at=now):
                continue
            if trouble.was_told and instances and app.destroyed_at is None:
                up = ", ".join(map(str, instances))
                text = f"{trouble.about} kept crashing. Up for a minute, and more: {up}."
                link = _link(f"apps/{app.name}")
                tell(app, Topic.RECOVERED, f"{app.name} is well again", text, link, key=f"trouble:{trouble.pk}:over")


def watch_disk(home: Path) -> None:
    """For the sweep."""
    usage = shutil.disk_usage(home)
    percent = 100 * (usage.total - usage.free) / usage.total
    if percent >= DISK_FULL_PERCENT:
        trouble = _begin(None, Topic.DISK, str(home))
        if trouble is not None:
            text = (
                f"{percent:.0f} % of the disk of {home} are in use, {usage.free / 1e9:.1f} GB are left.\n"
                "Deploys fail when it is full. Give up old images with: paas cleanup"
            )
            with transaction.atomic():
                _tell_trouble(trouble, f"The disk of {settings.ENV.domain} is nearly full", text, _link("host"))
    elif percent < DISK_FREE_AGAIN_PERCENT:
        Trouble.objects.filter(app=None, topic=Topic.DISK, over_at=None).update(over_at=timezone.now())


def notice_of_switched_off(webhook: Webhook) -> None:
    """To the owner, to the log of the app, and to everybody who is told when a deploy fails."""
    app = webhook.app
    if app is None:
        return
    url = shown_url(webhook.url)
    subject = f"{app.name}: a webhook was switched off"
    text = f"Nothing could be delivered to {url} any more.\nCorrect it, then switch it on again."
    applog.say(app.pk, app.name, "hooks", f"Webhook {url} was switched off after many failures")
    key = f"webhook:{webhook.pk}:{timezone.now():%Y%m%d%H%M%S}"
    link = _link(f"apps/{app.name}/settings/webhooks/{webhook.pk}")
    tell(app, Topic.DEPLOY_FAILED, subject, text, link, key=key)
    mailbox = Channel.objects.filter(app=app, user=app.owner).first()
    if mail_is_on() and (mailbox is None or Topic.DEPLOY_FAILED not in mailbox.topics):
        mail(app.owner.email, subject, text, link, key=key)


def mail_is_on() -> bool:
    return bool(settings.ENV.smtp_url)


def tell(app: App | None, topic: Topic, subject: str, text: str, link: str, *, key: str) -> None:
    """One message for each channel that wants it; saying it twice with one key changes nothing."""
    for channel in Channel.objects.filter(app=app).select_related("user"):
        if topic in channel.topics and (channel.kind != ChannelKind.EMAIL or mail_is_on()):
            tell_channel(channel, topic, subject, text, link, key=key)


def tell_channel(channel: Channel, topic: str, subject: str, text: str, link: str, *, key: str) -> Message | None:
    """None when it was told that already, or has been told too much within an hour."""
    if Message.objects.filter(channel=channel, key=key).exists():
        return None
    lately = Message.objects.filter(channel=channel, created_at__gt=timezone.now() - timedelta(hours=1)).count()
    if lately >= MAX_PER_HOUR:
        return None
    if lately == MAX_PER_HOUR - 1:
        text += f"\n\nThis is message {MAX_PER_HOUR} within an hour. More of them are left out for a while."
    message = Message.objects.create(
        channel=channel, topic=topic, key=key[:120], subject=_one_line(subject), text=text[:4000], link=link
    )
    channel_id = str(channel.pk)
    transaction.on_commit(lambda: send("hooks.send_messages", channel_id))
    return message


def mail(address: str, subject: str, text: str, link: str, *, key: str) -> Message:
    """To one address, beside all channels."""
    message = Message.objects.create(address=address, key=key[:120], subject=_one_line(subject), text=text, link=link)
    transaction.on_commit(lambda: send("hooks.send_messages", MAIL))
    return message


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]


def _link(path: str) -> str:
    """To a page. Its address is not looked up: that would load all pages into the worker."""
    return f"{settings.ENV.address('dashboard')}/{path}"
