"""Which images are kept: those that run or are about to, those one may want to go back to, those somebody named."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from paas.apps.models import App
from paas.core import audit
from paas.releases.models import UNFINISHED, Image, Release, ReleaseStatus, Tag
from paas.releases.selectors import current_release, wished_release
from paas.releases.tags import own_tags

KEPT_RELEASES = 20  # those that succeeded, or are on their way: nobody goes back to one that failed


@dataclass(frozen=True, slots=True)
class Expired:
    app: str
    digest: str
    size_bytes: int
    versions: tuple[int, ...]  # the releases that can't be gone back to any more


def expired_images(app: App) -> QuerySet[Image]:
    """Images that nothing keeps: neither the last releases, nor a pin, a tag of people's own, or a build that goes on."""
    usable = app.releases.filter(status__in=[ReleaseStatus.SUCCEEDED, *UNFINISHED], image__isnull=False)
    kept: set[UUID | None] = set(usable.order_by("-version").values_list("image", flat=True)[:KEPT_RELEASES])
    kept |= set(app.releases.filter(pinned=True, image__isnull=False).values_list("image", flat=True))
    kept |= set(own_tags(app).values_list("image", flat=True))
    kept |= {release.image_id for release in (current_release(app), wished_release(app)) if release}
    kept |= set(app.builds.filter(finished_at__isnull=True, image__isnull=False).values_list("image", flat=True))
    return app.images.filter(collected_at__isnull=True).exclude(pk__in=[pk for pk in kept if pk])


def expired(app: App) -> list[Expired]:
    images = list(expired_images(app))
    versions: dict[object, list[int]] = {}
    for image_id, version in Release.objects.filter(image__in=images).order_by("version").values_list("image", "version"):
        versions.setdefault(image_id, []).append(version)
    return [Expired(app.name, image.digest, image.size_bytes, tuple(versions.get(image.pk, ()))) for image in images]


@transaction.atomic
def give_up_images(app: App) -> list[Expired]:
    """From here on nothing can be rolled back to them; the registry's turn comes after the commit. Whoever rolls back
    at this moment is either first, and keeps the image, or hears that it is gone."""
    App.objects.select_for_update().get(pk=app.pk)
    gone = expired(app)
    if gone:
        images = app.images.filter(digest__in=[each.digest for each in gone])
        Tag.objects.filter(image__in=images).delete()
        images.update(collected_at=timezone.now())
        audit.record(
            "images.collect",
            by=None,
            app_id=app.id,
            app_name=app.name,
            images=[each.digest for each in gone],
            releases=[f"v{version}" for each in gone for version in each.versions],
        )
    return gone
