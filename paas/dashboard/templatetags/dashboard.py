"""Words and shapes for values: statuses, times, sizes, icons; and where one can go."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any

from django import template
from django.contrib.messages.storage.base import Message
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from paas.accounts.models import User
from paas.apps.models import App
from paas.apps.selectors import url
from paas.builds.models import Build
from paas.core.models import Event
from paas.dashboard import navigation
from paas.dashboard.charts import path_of
from paas.formation.sizes import memory_text
from paas.hooks.words import about
from paas.metrics.selectors import Values
from paas.releases.diff import Change, Turn
from paas.releases.models import Release

register = template.Library()

# State, icon and tone. A state that is not here shows as it is, quietly.
STATES = {
    "up": ("dot", "good"),
    "succeeded": ("check", "quiet"),
    "current": ("dot", "good"),
    "healthy": ("check", "good"),
    "enabled": ("check", "good"),
    "starting": ("turning", "busy"),
    "restarting": ("turning", "busy"),
    "stopping": ("turning", "busy"),
    "pending": ("turning", "busy"),
    "waiting": ("turning", "busy"),
    "building": ("turning", "busy"),
    "releasing": ("turning", "busy"),
    "deploying": ("turning", "busy"),
    "partly up": ("warning", "warn"),
    "maintenance": ("pause", "warn"),
    "degraded": ("warning", "warn"),
    "expiring": ("warning", "warn"),
    "down": ("cross", "bad"),
    "crashed": ("cross", "bad"),
    "failed": ("cross", "bad"),
    "expired": ("cross", "bad"),
    "leads here": ("check", "good"),
    "leads elsewhere": ("warning", "warn"),
    "no record": ("cross", "bad"),
    "no answer": ("warning", "warn"),
    "on": ("dot", "good"),
    "off": ("pause", "quiet"),
    "arrived": ("check", "good"),
    "sent": ("check", "quiet"),
    "retrying": ("restart", "warn"),
    "failing": ("warning", "warn"),
    "behind": ("warning", "warn"),
    "switched off": ("cross", "bad"),
    "stopped": ("stop", "quiet"),
    "not deployed": ("ring", "quiet"),
    "cancelled": ("dash", "quiet"),
    "superseded": ("dash", "quiet"),
}


@register.simple_tag
@lru_cache(maxsize=128)
def icon(name: str) -> SafeString:
    """One of the symbols in static/icons.svg. Decoration: the words beside it say what it means."""
    return format_html('<svg class="icon" aria-hidden="true"><use href="{}#{}"/></svg>', static("icons.svg"), name)


@register.filter
@lru_cache(maxsize=128)
def status(word: str) -> SafeString:
    """A state by word and icon, colour on top."""
    shape, tone = STATES.get(word, ("dot", "quiet"))
    return format_html(
        '<span class="status status-{}">{}<span>{}</span></span>', tone, icon(shape), str(word).capitalize()
    )


@register.filter
def ago(moment: datetime | None) -> SafeString:
    """A relative time with the exact one on hover; js/times.js keeps it true."""
    if moment is None:
        return format_html("–")
    exact = timezone.localtime(moment)
    return format_html(
        '<time datetime="{}" title="{}" data-relative>{}</time>',
        exact.isoformat(timespec="seconds"), f"{exact:%Y-%m-%d %H:%M:%S} UTC", relative(moment),
    )  # fmt: skip


def relative(moment: datetime) -> str:
    seconds = int((timezone.now() - moment).total_seconds())
    text = duration(abs(seconds))
    if abs(seconds) < 10:
        return "just now"
    return f"{text} ago" if seconds > 0 else f"in {text}"


@register.filter
def duration(seconds: float | None) -> str:
    """`3.2 s`, `48 s`, `5 min`, `3 h`, `12 d`."""
    if seconds is None:
        return "–"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 and seconds != int(seconds) else f"{int(seconds)} s"


@register.filter
def megabytes(size: int) -> str:
    """`52.6 MB`; what would be 0.0 of them in kB."""
    if not size:
        return "–"
    return f"{size / 1_000_000:.1f} MB" if size >= 100_000 else f"{size / 1000:.1f} kB"


@register.filter
def memory(size: int | None) -> str:
    """`512 MiB`: memory is counted in powers of two, as limits are."""
    return memory_text(size) if size else "–"


@register.filter
def intcomma(number: int) -> str:
    return f"{number:,}"


@register.filter
def sparkline(values: Values) -> str:
    """The path of components/sparkline.html."""
    return path_of(values, max((value for value in values if value is not None), default=0), 60, 16)


@register.filter
def short(identifier: str) -> str:
    """The part of a digest or commit that people compare: `1a2b3c4d5e6f`. The version of an archive stays whole."""
    text = identifier.removeprefix("sha256:")
    return text[:12] if re.fullmatch("[0-9a-f]+", text) else text


@register.simple_tag(takes_context=True)
def live(context: dict[str, Any], name: str) -> SafeString:
    """Attributes of a fragment that asks for itself again when something happened (js/live.js). The page has to say
    what it is about: {% block changes %} in base.html. No form to type into belongs inside."""
    return format_html(
        'id="{0}" data-live hx-get="{1}" hx-trigger="changed from:body" hx-select="#{0}" hx-swap="outerHTML"',
        name, context["request"].get_full_path(),
    )  # fmt: skip


@register.simple_tag(takes_context=True)
def flash_messages(context: dict[str, Any]) -> list[Message]:
    """Reading them forgets them, so fragments (htmx asks for them) leave them alone."""
    request = context.get("request")
    return [] if request is None or "HX-Request" in request.headers else list(context.get("messages", ()))


@register.simple_tag(takes_context=True)
def rail_links(context: dict[str, Any]) -> list[navigation.Link]:
    request = context["request"]
    return list(navigation.rail(request.user, request.path)) if isinstance(request.user, User) else []


@register.simple_tag(takes_context=True)
def account_links(context: dict[str, Any]) -> list[navigation.Link]:
    return list(navigation.account(context["request"].path))


@register.simple_tag(takes_context=True)
def account_pages(context: dict[str, Any]) -> list[navigation.Link]:
    return list(navigation.account_pages(context["request"].path))


@register.simple_tag(takes_context=True)
def app_links(context: dict[str, Any]) -> list[navigation.Link]:
    return list(navigation.app_pages(context["app"].name, context["request"].path))


@register.simple_tag(takes_context=True)
def settings_links(context: dict[str, Any]) -> list[navigation.Link]:
    return list(navigation.settings_pages(context["app"].name, context["request"].path))


@register.filter
def event_words(event: Event) -> str:
    return about(event)


@register.filter
def pretty_json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


@register.filter
def action_group(action: str) -> str:
    """The first part of an action of the audit log: `access` of `access.add`."""
    return action.partition(".")[0]


@register.filter
def app_url(app: App) -> str:
    return url(app)


@register.filter
def log_class(line: str) -> str:
    """Steps and complaints stand out; js/log.js knows the same two signs."""
    if line.startswith("----->"):
        return "log-head"
    return "log-error" if line.startswith(" !") else ""


@register.filter
def app_host(app: App) -> str:
    """Its address as people say it."""
    return url(app).partition("://")[2]


@register.filter
def signed(changes: Iterable[Change]) -> list[dict[str, str | None]]:
    """As components/diff.html takes them."""
    signs = {Turn.ADDED: "add", Turn.REMOVED: "remove", Turn.CHANGED: "change"}
    return [
        {"sign": signs[change.turn], "name": change.subject, "before": change.before, "after": change.after}
        for change in changes
    ]


@register.filter
def took(work: Build | Release) -> str:
    """How long it took, or has taken so far."""
    began = work.started_at or work.created_at
    return duration(((work.finished_at or timezone.now()) - began).total_seconds())
