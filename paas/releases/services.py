"""Make releases, and move the status of one along."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import F, Max
from django.utils import timezone

from paas.accounts.models import User
from paas.apps.models import App
from paas.apps.services import request_convergence
from paas.core import audit
from paas.releases.audited import moved
from paas.releases.diff import Change, config_values
from paas.releases.events import tell_release
from paas.releases.models import UNFINISHED, Image, Release, ReleaseKind, ReleaseStatus
from paas.releases.ports import reserve_ports
from paas.releases.selectors import (
    PARTS,
    check_not_collected,
    check_rollback,
    check_seen,
    code_of,
    current_release,
    get_tag,
    restored,
    settings_of,
    wished_release,
)
from paas.releases.tags import set_tag
from runtime.errors import Failure

MAX_WHY = 500


def _create(app: App, *, by: User | None, **fields: Any) -> Release:
    """Within a transaction. Earlier unfinished releases are superseded: the new one was made from the newest of them.
    Raises `Conflict` when another app has one of its ports."""
    base = wished_release(app)
    fields["why"] = " ".join(fields.get("why", "").replace("\0", "").split())[:MAX_WHY]
    version = (app.releases.aggregate(last=Max("version"))["last"] or 0) + 1
    for earlier in app.releases.filter(status__in=UNFINISHED).order_by("version"):
        _supersede(earlier, version)
    release = Release.objects.create(app=app, version=version, created_by=by, door=audit.door(), **fields)
    _keep_ports(app, by=by)
    App.objects.filter(pk=app.pk).update(generation=F("generation") + 1)
    before, after = moved(base, release)
    audit.record(
        "release.create",
        by=by,
        app_id=app.id,
        app_name=app.name,
        before=before,
        after=after,
        version=version,
        kind=release.kind,
        description=release.description,
        why=release.why or None,
    )
    if release.image is None:  # nothing to run yet: it is current as it is
        tell_release(release, "create")
        finish_release(release)
    else:
        set_tag(app, f"v{version}", release.image)
        tell_release(release, "create")
    request_convergence(app)
    return release


def _supersede(release: Release, version: int) -> None:
    release.status, release.reason = ReleaseStatus.SUPERSEDED, f"Superseded by v{version}."
    release.finished_at = timezone.now()
    release.save(update_fields=["status", "reason", "finished_at"])
    tell_release(release, "update", previous={"status": "pending"})


def _keep_ports(app: App, *, by: User | None = None) -> None:
    """The app has the ports of its current and of its wished release."""
    found = current_release(app), wished_release(app)
    reserve_ports(app, [release for release in found if release], by=by)


@transaction.atomic
def create_deploy(
    app: App,
    image: Image,
    *,
    by: User | None,
    description: str,
    kind: ReleaseKind = ReleaseKind.DEPLOY,
    why: str = "",
) -> Release:
    """A new image with the app's present config, ports, limits and health settings."""
    App.objects.select_for_update().get(pk=app.pk)
    return _create(
        app,
        by=by,
        kind=kind,
        image=image,
        process_types=image.process_types,
        release_command=image.release_command,
        health_checks=image.health_checks,
        **settings_of(wished_release(app)),
        description=description,
        why=why,
    )


@transaction.atomic
def remove_process_type(app: App, process: str, *, by: User) -> Release | None:
    """The present image without a process type, or without its release command (`release`). None when it has none."""
    App.objects.select_for_update().get(pk=app.pk)
    base = wished_release(app)
    if base is None or base.image is None or (process not in base.process_types and process != "release"):
        return None
    if process == "release" and not base.release_command:
        return None
    return _create(
        app,
        by=by,
        kind=ReleaseKind.DEPLOY,
        image=base.image,
        process_types={name: command for name, command in base.process_types.items() if name != process},
        release_command="" if process == "release" else base.release_command,
        health_checks=base.health_checks,
        **settings_of(base),
        description=f"Remove {process}",
    )


@transaction.atomic
def deploy_tag(app: App, name: str, *, by: User, why: str = "", seen: int | None = None) -> Release:
    """The image that a tag points to, with the app's present settings. Raises `NotFound` or `Conflict`."""
    App.objects.select_for_update().get(pk=app.pk)
    check_seen(app, seen)
    image = get_tag(app, name).image
    check_not_collected(image, name)
    return create_deploy(app, image, by=by, kind=ReleaseKind.TAG, description=f"Deploy tag {name}", why=why)


@transaction.atomic
def create_change(
    app: App,
    *,
    by: User | None,
    kind: ReleaseKind,
    description: str,
    config: Mapping[str, str] | None = None,
    ports: Sequence[Mapping[str, object]] | None = None,
    limits: Mapping[str, Mapping[str, int]] | None = None,
    health_overrides: Mapping[str, Mapping[str, object]] | None = None,
    why: str = "",
) -> Release | None:
    """The present image with other settings: each that is given takes the place of the whole setting. One release, or
    None when nothing changes. Without an image yet, it just becomes the current release. Raises `Conflict` when
    another app has one of the ports; callers have checked the values."""
    App.objects.select_for_update().get(pk=app.pk)
    base = wished_release(app)
    before = settings_of(base)
    after = before | {
        name: value
        for name, value in {
            "config": None if config is None else dict(config),
            "ports": None if ports is None else [dict(port) for port in ports],
            "limits": None if limits is None else {process: dict(limit) for process, limit in limits.items()},
            "health_overrides": None
            if health_overrides is None
            else {process: dict(check) for process, check in health_overrides.items()},
        }.items()
        if value is not None
    }
    if after == before:
        return None
    return _create(
        app,
        by=by,
        kind=kind if base else ReleaseKind.INITIAL,
        **code_of(base),
        **after,
        description=description[:300],
        why=why,
    )


@transaction.atomic
def roll_back(
    app: App,
    target: Release,
    *,
    by: User | None,
    only: Collection[str] = PARTS,
    why: str = "",
    seen: int | None = None,
) -> Release:
    """A new release that restores an older one, or a choice of its parts, and becomes the app's present settings.
    Raises `InvalidInput`, or `Conflict` when another app has taken one of its ports meanwhile, or when something has
    changed since the preview that was `seen`."""
    App.objects.select_for_update().get(pk=app.pk)
    check_seen(app, seen)
    check_rollback(target, only)
    base = wished_release(app)
    return _create(
        app,
        by=by,
        kind=ReleaseKind.ROLLBACK,
        **restored(base, target, only),
        copied_from=target,
        description=f"Rollback to v{target.version}" + ("" if set(only) == set(PARTS) else f": {_listed(only)}"),
        why=why,
    )


def _listed(only: Collection[str]) -> str:
    return ", ".join(part for part in PARTS if part in only)


@transaction.atomic
def set_pinned(release: Release, on: bool, *, by: User) -> None:
    """The image of a pinned release is never collected. Saying it twice changes nothing. Raises `Conflict` when the
    image is gone already."""
    app = App.objects.select_for_update().get(pk=release.app_id)
    if on and release.image_id is not None:
        check_not_collected(Image.objects.get(pk=release.image_id), f"v{release.version}")
    if Release.objects.filter(pk=release.pk, pinned=not on).update(pinned=on):
        release.pinned = on
        action = "release.pin" if on else "release.unpin"
        audit.record(action, by=by, app_id=app.id, app_name=app.name, version=release.version)


@transaction.atomic
def reveal_config(app: App, before: Release | None, after: Release, *, by: User) -> tuple[Change, ...]:
    """The config vars that differ between two releases, with their values. For operators; recorded."""
    changes = config_values(before.config if before else {}, after.config)
    audit.record(
        "config.reveal",
        by=by,
        app_id=app.id,
        app_name=app.name,
        releases=[str(release) for release in (before, after) if release],
        names=[change.subject for change in changes],
    )
    return changes


@transaction.atomic
def reveal_release_config(app: App, release: Release, *, by: User) -> dict[str, str]:
    """All config vars of a release with their values. For operators; recorded."""
    names = sorted(release.config)
    audit.record("config.reveal", by=by, app_id=app.id, app_name=app.name, version=release.version, names=names)
    return dict(release.config)


def start_release(release: Release) -> bool:
    """Claim it. False when it is finished or superseded by now."""
    now = timezone.now()
    moved = Release.objects.filter(pk=release.pk, status=ReleaseStatus.PENDING).update(
        status=ReleaseStatus.RELEASING, started_at=now
    )
    if moved:
        release.status, release.started_at = ReleaseStatus.RELEASING, now
        return True
    return Release.objects.filter(pk=release.pk, status=ReleaseStatus.RELEASING).exists()


@transaction.atomic
def finish_release(release: Release) -> bool:
    """It is live: the current release of its app. False when it had been superseded meanwhile."""
    App.objects.select_for_update().get(pk=release.app_id)
    moved = Release.objects.filter(pk=release.pk, status__in=UNFINISHED).update(
        status=ReleaseStatus.SUCCEEDED, finished_at=timezone.now(), reason="", error_id="", hint=""
    )
    if moved:
        release.status = ReleaseStatus.SUCCEEDED
        App.objects.filter(pk=release.app_id).update(current_release=release)
        if release.image is not None:
            set_tag(release.app, "latest", release.image)
        _keep_ports(release.app)
        _tell_end(release)
    return bool(moved)


@transaction.atomic
def fail_release(release: Release, failure: Failure) -> bool:
    """It never became current; the app's current release is what it was."""
    App.objects.select_for_update().get(pk=release.app_id)
    failed = Release.objects.filter(pk=release.pk, status__in=UNFINISHED).update(
        status=ReleaseStatus.FAILED,
        finished_at=timezone.now(),
        error_id=failure.id,
        reason=failure.message.replace("\0", ""),
        hint=failure.hint.replace("\0", ""),
    )
    if failed:
        _keep_ports(release.app)
        _tell_end(release)
    return bool(failed)


def _tell_end(release: Release) -> None:
    ended = Release.objects.select_related("app", "created_by").get(pk=release.pk)
    tell_release(ended, "update", previous={"status": "pending", "current": False})


def mark_command_done(release: Release) -> None:
    release.command_done_at = timezone.now()
    release.save(update_fields=["command_done_at", "updated_at"])
