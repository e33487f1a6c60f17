"""Which release is current, which one is wished for, what one holds and how two differ."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db.models import Prefetch, QuerySet

from paas.accounts.models import User
from paas.apps.models import App
from paas.apps.selectors import repository_path
from paas.releases import ports
from paas.releases.diff import Contents, Diff, ImageFacts, compare
from paas.releases.models import UNFINISHED, Image, Release, ReleaseStatus, Tag
from runtime.errors import Conflict, InvalidInput, NotFound, UserError
from runtime.git.history import Course, history_between
from runtime.git.text import short_commit

PARTS = ("code", "config", "ports", "limits", "health")  # what a rollback can restore by itself


def current_release(app: App) -> Release | None:
    """The last one that succeeded: what visitors see. Asked of the database each time: a deploy takes minutes, and the
    app in somebody's hand may be older than the last config change."""
    current = App.objects.filter(pk=app.pk).values("current_release")
    return Release.objects.select_related("image").filter(pk__in=current).first()


def wished_release(app: App) -> Release | None:
    """The newest unfinished one, otherwise the current one. New releases are made from this."""
    newest = app.releases.select_related("image").filter(status__in=UNFINISHED).order_by("-version").first()
    return newest or current_release(app)


def wished_releases() -> Mapping[UUID, Release]:
    """Those of all apps that have one, by app."""
    releases = Release.objects.select_related("image")
    found = {release.app_id: release for release in releases.filter(pk__in=App.objects.values("current_release"))}
    unfinished = releases.filter(status__in=UNFINISHED).order_by("version")
    return found | {release.app_id: release for release in unfinished}


def get_release(app: App, version: str | int) -> Release:
    """`v7` or 7. Raises `NotFound`."""
    text = str(version).removeprefix("v")
    releases = app.releases.select_related("image", "created_by", "copied_from")
    release = releases.filter(version=int(text)).first() if _is_number(text) else None
    if release is None:
        raise NotFound(
            f"{app.name} has no release {version}.",
            hint=f"See them with: paas releases -a {app.name}",
            id="release_not_found",
        )
    return release


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def timeline(app: App) -> QuerySet[Release]:
    """Newest first, without what only a release's own page shows: config is decrypted, layers are read."""
    shown = Prefetch("image__tags", queryset=Tag.objects.filter(is_removed=False).order_by("name"))
    return (
        app.releases.select_related("created_by", "image", "copied_from")
        .defer("config", "copied_from__config", "image__layers")
        .prefetch_related(shown)
    )


def previous_release(release: Release) -> Release | None:
    """What ran before it, or would have gone on running: the newest earlier one that succeeded."""
    earlier = Release.objects.filter(app=release.app_id, version__lt=release.version, status=ReleaseStatus.SUCCEEDED)
    return earlier.select_related("image").order_by("-version").first()


def tags_of(app: App) -> QuerySet[Tag]:
    return app.tags.filter(is_removed=False).select_related("image")


def get_tag(app: App, name: str) -> Tag:
    """Raises `NotFound`."""
    tag = tags_of(app).filter(name=name).first() if "\0" not in name else None
    if tag is None:
        raise NotFound(
            f"{app.name} has no tag {name!r}.", hint=f"See them with: paas tags -a {app.name}", id="tag_not_found"
        )
    return tag


def newest_releases(app: App, images: Collection[Image]) -> dict[UUID, int]:
    """By image, the version of the newest release that ran it."""
    ran = app.releases.filter(image__in=images, status=ReleaseStatus.SUCCEEDED).order_by("version")
    return {image: version for image, version in ran.values_list("image", "version") if image}


def named_release(app: App, name: str) -> Release:
    """By version (`v7`), or by tag: then the newest release that ran its image. Raises `NotFound`."""
    if _is_number(name.removeprefix("v")):
        return get_release(app, name)
    tag = get_tag(app, name)
    releases = app.releases.select_related("image").filter(image=tag.image, status=ReleaseStatus.SUCCEEDED)
    release = releases.order_by("-version").first()
    if release is None:
        raise NotFound(
            f"No release of {app.name} has run the image of {name!r} yet.",
            hint=f"Deploy it instead: paas deploy -a {app.name} --tag {name}",
            id="release_not_found",
        )
    return release


def named_image(app: App, name: str) -> Image:
    """By version or by tag. Raises `NotFound`, or `Conflict` when it is gone."""
    image = get_release(app, name).image if _is_number(name.removeprefix("v")) else get_tag(app, name).image
    if image is None:
        raise NotFound(f"{name} of {app.name} has no image.", hint="Choose a release made by a deploy or after one.")
    check_not_collected(image, name)
    return image


def rollback_target(app: App) -> Release:
    """The newest release with an image that succeeded before the current one. Raises `NotFound`."""
    current = current_release(app)
    earlier = app.releases.select_related("image").filter(
        status=ReleaseStatus.SUCCEEDED, image__isnull=False, image__collected_at__isnull=True
    )
    target = earlier.filter(version__lt=current.version).order_by("-version").first() if current else None
    if target is None:
        raise NotFound(f"{app.name} has no earlier release to go back to.", id="release_not_found")
    return target


def check_rollback(target: Release, only: Collection[str] = PARTS) -> None:
    """Raises `InvalidInput` or `Conflict` when there is nothing to go back to in it."""
    unknown = sorted(set(only) - set(PARTS))
    if unknown or not only:
        raise InvalidInput(
            f"{unknown[0]!r} can't be restored by itself." if unknown else "There is nothing chosen to restore.",
            hint=f"Choose among: {', '.join(PARTS)}.",
            id="unknown_part",
        )
    if target.image is None:
        raise InvalidInput(
            f"v{target.version} has no image to run.",
            hint="Choose a release made by a deploy or after one.",
            id="release_not_usable",
        )
    if target.status != ReleaseStatus.SUCCEEDED:
        raise InvalidInput(
            f"v{target.version} never ran: it {target.status}.",
            hint="Choose a release that succeeded.",
            id="release_not_usable",
        )
    if "code" in only:
        check_not_collected(target.image, f"v{target.version}")


def check_not_collected(image: Image, name: str) -> None:
    """Raises `Conflict`."""
    if image.collected_at:
        raise Conflict(
            f"The image of {name} was collected on {image.collected_at:%Y-%m-%d}.",
            hint="A rollback can still restore the settings alone; the code has to be pushed again"
            + (f": commit {short_commit(image.commit)}." if image.commit else "."),
            id="image_collected",
        )


def code_of(release: Release | None) -> dict[str, Any]:
    """Fields of a release: what it runs."""
    if release is None:
        return {"image": None, "process_types": {}, "release_command": "", "health_checks": {}}
    return {
        "image": release.image,
        "process_types": release.process_types,
        # It takes the place of a deploy that has not run its release command yet: then it is ours to run.
        "release_command": release.release_command if not release.is_finished and not release.command_done_at else "",
        "health_checks": release.health_checks,
    }


def settings_of(release: Release | None) -> dict[str, Any]:
    """Fields of a release: what people have set."""
    if release is None:
        return {"config": {}, "ports": [], "limits": {}, "health_overrides": {}}
    return {
        "config": release.config,
        "ports": release.ports,
        "limits": release.limits,
        "health_overrides": release.health_overrides,
    }


def restored(base: Release | None, target: Release, only: Collection[str] = PARTS) -> dict[str, Any]:
    """Fields of a release that takes these parts from the target and everything else from the base."""
    code, present, old = code_of(base), settings_of(base), settings_of(target)
    if "code" in only or base is None:
        code = code_of(target) | {"release_command": ""}
    parts = {"config": "config", "ports": "ports", "limits": "limits", "health": "health_overrides"}
    return code | {name: (old if part in only or base is None else present)[name] for part, name in parts.items()}


def release_contents(release: Release | None, title: str = "") -> Contents:
    return _contents(title or str(release or "nothing"), **code_of(release), **settings_of(release))


def _contents(title: str, *, image: Image | None, health_checks: Any, health_overrides: Any, **fields: Any) -> Contents:
    facts = (
        None
        if image is None
        else ImageFacts(
            digest=image.digest,
            size_bytes=image.size_bytes,
            commit=image.commit,
            subject=image.commit_subject,
            stack=image.stack,
            buildpacks=tuple(image.buildpacks),
            layers=tuple(image.layers),
        )
    )
    fields.pop("release_command")
    return Contents(title, image=facts, health={**health_checks, **health_overrides}, **fields)


def release_diff(app: App, before: Release | None, after: Release) -> Diff:
    return _diff((app,), release_contents(before), release_contents(after))


@dataclass(frozen=True, slots=True)
class Preview:
    """What a rollback would change, and why it can't be done, if so."""

    diff: Diff
    refusal: UserError | None


def rollback_preview(app: App, target: Release, *, by: User, only: Collection[str] = PARTS) -> Preview:
    """Raises `InvalidInput` or `Conflict` when the target is nothing to go back to."""
    check_rollback(target, only)
    base = wished_release(app)
    fields = restored(base, target, only)
    diff = _diff((app,), release_contents(base), _contents(f"after the rollback to v{target.version}", **fields))
    try:
        ports.check_free(app, fields["ports"], by=by)
    except UserError as exc:
        return Preview(diff, exc)
    return Preview(diff, None)


def deploy_preview(app: App, image: Image, name: str, *, history_of: Collection[App] = ()) -> Diff:
    """What a deploy of this image would change. Its commits are looked for in the repositories of these apps, if any,
    otherwise in the app's own."""
    base = wished_release(app)
    code = {"image": image, "process_types": image.process_types, "health_checks": image.health_checks}
    after = _contents(f"after the deploy of {name}", **code, release_command="", **settings_of(base))
    return _diff(history_of or (app,), release_contents(base), after)


def diff_between_apps(apps: Collection[App], before: Contents, after: Contents) -> Diff:
    """What two apps hold that ought to be alike. Public ports can't be, and config vars need not have the same value."""
    return _diff(apps, _comparable(before), _comparable(after))


def _comparable(contents: Contents) -> Contents:
    return replace(contents, ports=(), config=dict.fromkeys(contents.config, ""))


def check_seen(app: App, seen: int | None) -> None:
    """`seen` is the version of what was wished for when somebody looked at a preview. Raises `Conflict` when that is
    another one by now: what would change is no longer what they saw."""
    base = wished_release(app)
    now = base.version if base else 0
    if seen is not None and seen != now:
        raise Conflict(
            f"{app.name} has changed since you looked at it: that was v{seen}, now it is v{now}.",
            hint="Nothing was changed. Look at what would change now.",
            id="changed_meanwhile",
        )


def _diff(apps: Collection[App], before: Contents, after: Contents) -> Diff:
    old, new = before.image, after.image
    history = None
    if old and new and old.digest != new.digest and old.commit and new.commit:
        for app in apps:
            history = history_between(repository_path(app), old.commit, new.commit)
            if history.course is not Course.UNKNOWN:
                break
    return compare(before, after, history)
