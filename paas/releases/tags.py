"""Names for images. `latest`, `vN` and `git-…` are ours, the others people's own; the registry's copies follow."""

from __future__ import annotations

import re

import structlog
from django.db import transaction
from django.db.models import Q, QuerySet

from paas.accounts.models import User
from paas.apps.models import App
from paas.core import audit
from paas.core.queue import send
from paas.core.redis import lease
from paas.releases.exclusion import pushing
from paas.releases.models import Image, Tag
from paas.releases.selectors import check_not_collected, get_tag, tags_of
from paas.wiring import registry
from runtime.errors import Conflict, InvalidInput, ManifestUnknown, RegistryError

log = structlog.get_logger()

# The grammar of the OCI distribution specification.
NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII)
OURS = re.compile(r"latest|v[0-9]+|git-.*", re.ASCII)
_OURS = Q(name="latest") | Q(name__startswith="git-") | Q(name__regex=r"^v[0-9]+$")  # the same, for the database
PUBLISH_SECONDS = 5  # a deploy has better things to do meanwhile


def is_ours(name: str) -> bool:
    return OURS.fullmatch(name) is not None


def own_tags(app: App) -> QuerySet[Tag]:
    return tags_of(app).exclude(_OURS)


def platform_tags(app: App) -> QuerySet[Tag]:
    """The youngest first."""
    return tags_of(app).filter(_OURS).order_by("-updated_at")


def set_tag(app: App, name: str, image: Image) -> None:
    """Within a transaction. One of ours; the registry hears of it after the commit."""
    tag, is_new = Tag.objects.get_or_create(app=app, name=name, defaults={"image": image})
    if not is_new and (tag.image_id != image.pk or tag.is_removed):
        _change(tag, image=image, is_removed=False)
    _publish_soon(app)


@transaction.atomic
def add_tag(app: App, name: str, image: Image, *, by: User) -> bool:
    """Make a tag of one's own, or move it. True when something changed. Raises `InvalidInput`, or `Conflict` when it is
    protected or the image is gone."""
    check_name(name)
    App.objects.select_for_update().get(pk=app.pk)
    image.refresh_from_db()
    check_not_collected(image, str(image))
    tag = Tag.objects.select_related("image").filter(app=app, name=name).first()
    if tag is None:
        Tag.objects.create(app=app, name=name, image=image)
        before = None
    elif tag.is_removed:
        _change(tag, image=image, is_removed=False)
        before = None
    elif tag.image_id == image.pk:
        return False
    else:
        _check_unprotected(tag)
        before = {"image": tag.image.digest}
        _change(tag, image=image)
    audit.record(
        "tag.set",
        by=by,
        app_id=app.id,
        app_name=app.name,
        tag=name,
        before=before,
        after={"image": image.digest},
    )
    _publish_soon(app)
    return True


@transaction.atomic
def remove_tag(app: App, name: str, *, by: User) -> None:
    """The image stays as long as retention keeps it. Raises `NotFound`, `InvalidInput` or `Conflict`."""
    check_name(name)
    App.objects.select_for_update().get(pk=app.pk)
    tag = get_tag(app, name)
    _check_unprotected(tag)
    _change(tag, is_removed=True)
    audit.record("tag.remove", by=by, app_id=app.id, app_name=app.name, tag=name, before={"image": tag.image.digest})
    _publish_soon(app)


@transaction.atomic
def protect_tag(app: App, name: str, on: bool, *, by: User) -> None:
    """A protected tag can't be moved or removed. Saying it twice changes nothing. Raises `NotFound`, `InvalidInput`."""
    check_name(name)
    tag = get_tag(app, name)
    if Tag.objects.filter(pk=tag.pk, protected=not on).update(protected=on):
        audit.record("tag.protect" if on else "tag.unprotect", by=by, app_id=app.id, app_name=app.name, tag=name)


def check_name(name: str) -> None:
    """Of a tag of one's own. Raises `InvalidInput`."""
    if not NAME.fullmatch(name):
        raise InvalidInput(
            f"{name!r} can't be the name of a tag.",
            hint="Use up to 128 letters, digits, dots, dashes and underscores; begin with a letter, digit or underscore.",
            id="invalid_tag",
        )
    if is_ours(name):
        raise InvalidInput(
            f"The tag {name!r} is kept by the platform.",
            hint="Names like latest, v12 and git-… are taken; choose another one.",
            id="reserved_tag",
        )


def _check_unprotected(tag: Tag) -> None:
    if tag.protected:
        raise Conflict(
            f"The tag {tag.name!r} is protected.",
            hint=f"Take the protection off first: paas tags:protect -a {tag.app.name} --off {tag.name}",
            id="tag_protected",
        )


def _change(tag: Tag, **fields: object) -> None:
    for name, value in fields.items():
        setattr(tag, name, value)
    tag.is_published = False
    if tag.is_removed:
        tag.protected = False
    tag.save(update_fields=[*fields, "is_published", "protected", "updated_at"])


def _publish_soon(app: App) -> None:
    app_id = str(app.pk)
    transaction.on_commit(lambda: send("releases.publish_tags", app_id, countdown=PUBLISH_SECONDS))


def unpublished_tags() -> QuerySet[Tag]:
    return Tag.objects.filter(is_published=False, app__destroyed_at__isnull=True)


def publish_tags(app_id: str) -> None:
    """Tell the registry what it has not been told yet. When it is away, the sweep comes again."""
    with lease(f"tags:{app_id}", wait_seconds=5) as held:
        if held is None:
            return  # whoever has it may be past this one already: the sweep comes again
        with pushing():
            for tag in unpublished_tags().filter(app_id=app_id).select_related("image", "app"):
                held.check()
                try:
                    _publish(tag)
                except RegistryError as exc:
                    log.warning("tag_not_published", app=tag.app.name, tag=tag.name, reason=exc.message)
                    return


def _publish(tag: Tag) -> None:
    """No transaction is open while the registry answers; what has changed meanwhile is published by the next look."""
    same = Tag.objects.filter(pk=tag.pk, image=tag.image, is_removed=tag.is_removed)
    if tag.is_removed:
        registry().delete_tag(tag.image.repository, tag.name)
        same.delete()
        return
    try:
        if registry().head_manifest(tag.image.repository, tag.name) != tag.image.digest:
            registry().tag(tag.image.repository, tag.image.digest, tag.name)
    except ManifestUnknown:
        log.warning("tag_without_image", app=tag.app.name, tag=tag.name, digest=tag.image.digest)
    same.update(is_published=True)
