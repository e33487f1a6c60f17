"""Make releases, and move the status of one along."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F, Max
from django.utils import timezone

from paas.accounts.models import User
from paas.apps.models import App
from paas.apps.services import request_convergence
from paas.core import audit
from paas.releases.models import UNFINISHED, Image, Release, ReleaseKind, ReleaseStatus, Tag
from paas.releases.selectors import wished_release
from runtime.errors import Failure, InvalidInput


def _create(app: App, *, by: User | None, **fields: object) -> Release:
    """Within a transaction. Earlier unfinished releases are superseded: the new one was made from the newest of them."""
    App.objects.select_for_update().get(pk=app.pk)
    version = (app.releases.aggregate(last=Max("version"))["last"] or 0) + 1
    app.releases.filter(status__in=UNFINISHED).update(
        status=ReleaseStatus.SUPERSEDED, reason=f"Superseded by v{version}.", finished_at=timezone.now()
    )
    release = Release.objects.create(app=app, version=version, created_by=by, **fields)
    App.objects.filter(pk=app.pk).update(generation=F("generation") + 1)
    audit.record(
        "release.create", by=by, app_id=app.id, app_name=app.name, version=version, description=release.description
    )
    if release.image is None:  # nothing to run yet: it is current as it is
        finish_release(release)
    else:
        set_tag(app, f"v{version}", release.image)
    request_convergence(app)
    return release


@transaction.atomic
def create_deploy(app: App, image: Image, *, by: User | None, description: str) -> Release:
    """A new image with the app's present config."""
    App.objects.select_for_update().get(pk=app.pk)
    base = wished_release(app)
    return _create(
        app,
        by=by,
        kind=ReleaseKind.DEPLOY,
        image=image,
        config=base.config if base else {},
        process_types=image.process_types,
        release_command=image.release_command,
        health_checks=image.health_checks,
        description=description,
    )


@transaction.atomic
def create_config_change(app: App, config: dict[str, str], *, by: User | None, description: str) -> Release:
    """The present image with another config. Without an image yet, it just becomes the current release."""
    App.objects.select_for_update().get(pk=app.pk)
    base = wished_release(app)
    return _create(
        app,
        by=by,
        kind=ReleaseKind.CONFIG if base else ReleaseKind.INITIAL,
        image=base.image if base else None,
        config=config,
        process_types=base.process_types if base else {},
        # It takes the place of a deploy that has not run its release command yet: then it is ours to run.
        release_command=base.release_command if base and not base.is_finished and not base.command_done_at else "",
        health_checks=base.health_checks if base else {},
        description=description,
    )


@transaction.atomic
def roll_back(app: App, target: Release, *, by: User | None) -> Release:
    """A new release that copies image, config and process types of an older one. Raises `InvalidInput`."""
    if target.image is None:
        raise InvalidInput(
            f"v{target.version} has no image to run.", hint="Choose a release made by a deploy or after one."
        )
    if target.status != ReleaseStatus.SUCCEEDED:
        raise InvalidInput(
            f"v{target.version} never ran: it {target.status}.", hint="Choose a release that succeeded.",
            id="release_not_usable",
        )  # fmt: skip
    return _create(
        app,
        by=by,
        kind=ReleaseKind.ROLLBACK,
        image=target.image,
        config=target.config,
        process_types=target.process_types,
        health_checks=target.health_checks,
        copied_from=target,
        description=f"Rollback to v{target.version}",
    )


@transaction.atomic
def set_tag(app: App, name: str, image: Image) -> None:
    Tag.objects.update_or_create(app=app, name=name, defaults={"image": image})


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
    moved = Release.objects.filter(pk=release.pk, status__in=UNFINISHED).update(
        status=ReleaseStatus.SUCCEEDED, finished_at=timezone.now(), reason="", error_id="", hint=""
    )
    if moved:
        release.status = ReleaseStatus.SUCCEEDED
        App.objects.filter(pk=release.app_id).update(current_release=release)
        if release.image is not None:
            set_tag(release.app, "latest", release.image)
    return bool(moved)


def fail_release(release: Release, failure: Failure) -> bool:
    """It never became current; the app's current release is what it was."""
    return bool(
        Release.objects.filter(pk=release.pk, status__in=UNFINISHED).update(
            status=ReleaseStatus.FAILED,
            finished_at=timezone.now(),
            error_id=failure.id,
            reason=failure.message.replace("\0", ""),
            hint=failure.hint.replace("\0", ""),
        )
    )


def mark_command_done(release: Release) -> None:
    release.command_done_at = timezone.now()
    release.save(update_fields=["command_done_at", "updated_at"])
