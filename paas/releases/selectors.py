"""Which release is current, which one is wished for."""

from __future__ import annotations

from paas.apps.models import App
from paas.releases.models import UNFINISHED, Release
from runtime.errors import NotFound


def current_release(app: App) -> Release | None:
    """The last one that succeeded: what visitors see. Asked of the database each time: a deploy takes minutes, and the
    app in somebody's hand may be older than the last config change."""
    current = App.objects.filter(pk=app.pk).values("current_release")
    return Release.objects.select_related("image").filter(pk__in=current).first()


def wished_release(app: App) -> Release | None:
    """The newest unfinished one, otherwise the current one. New releases are made from this."""
    newest = app.releases.select_related("image").filter(status__in=UNFINISHED).order_by("-version").first()
    return newest or current_release(app)


def get_release(app: App, version: str | int) -> Release:
    """`v7` or 7. Raises `NotFound`."""
    text = str(version).removeprefix("v")
    release = app.releases.select_related("image").filter(version=int(text)).first() if _is_number(text) else None
    if release is None:
        raise NotFound(
            f"{app.name} has no release {version}.",
            hint=f"See them with: paas releases -a {app.name}",
            id="release_not_found",
        )
    return release


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def rollback_target(app: App) -> Release:
    """The newest release with an image that succeeded before the current one. Raises `NotFound`."""
    current = current_release(app)
    earlier = app.releases.select_related("image").filter(status="succeeded", image__isnull=False)
    target = earlier.filter(version__lt=current.version).order_by("-version").first() if current else None
    if target is None:
        raise NotFound(f"{app.name} has no earlier release to go back to.", id="release_not_found")
    return target
