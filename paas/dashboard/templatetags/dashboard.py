"""Words and shapes for values: statuses, times, sizes."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

ICONS = {
    "up": "●", "succeeded": "✓", "starting": "◌", "pending": "◌", "building": "◌", "releasing": "◌",
    "crashed": "✕", "failed": "✕", "cancelled": "–", "superseded": "–",
}  # fmt: skip
TONES = {"up": "good", "succeeded": "good", "crashed": "bad", "failed": "bad"}


@register.filter
def status(word: str) -> SafeString:
    """State by word and icon, colour on top."""
    return format_html(
        '<span class="status status-{}"><span aria-hidden="true">{}</span> {}</span>',
        TONES.get(word, "quiet"), ICONS.get(word, "·"), word,
    )  # fmt: skip


@register.filter
def ago(moment: datetime | None) -> SafeString:
    """A relative time with the exact one on hover."""
    if moment is None:
        return format_html("–")
    seconds = max(0, int((timezone.now() - moment).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            text = f"{seconds // size} {unit} ago"
            break
    else:
        text = "just now" if seconds < 10 else f"{seconds} s ago"
    exact = moment.isoformat(timespec="seconds")
    return format_html('<time datetime="{}" title="{}">{}</time>', exact, exact, text)


@register.filter
def megabytes(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB" if size else "–"
