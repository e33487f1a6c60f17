"""Releases: listed, made from an image, rolled back to."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from ninja import Router
from pydantic import Field

from paas.accounts.models import Scope
from paas.api.auth import ApiRequest, TokenAuth, find_app
from paas.api.errors import missing
from paas.api.ranges import page
from paas.api.schemas import Answer, Body, NamedRef, Time, UserRef, app_ref, user_ref
from paas.api.streams import stream_url
from paas.apps.models import App, Role
from paas.apps.selectors import check_role, is_id
from paas.builds.output import output_path
from paas.releases import services
from paas.releases.events import STATUS
from paas.releases.models import Image, Release, ReleaseStatus
from paas.releases.selectors import check_not_collected, get_release, timeline
from runtime.errors import InvalidInput

router = Router(tags=["Releases"])


class IdRef(Answer):
    id: UUID


class Artifact(Answer):
    type: str
    id: UUID


class ReleaseAnswer(Answer):
    addon_plan_names: list[str]
    app: NamedRef
    artifacts: list[Artifact]
    created_at: Time
    current: bool
    description: str
    eligible_for_rollback: bool
    id: UUID
    output_stream_url: str | None
    slug: IdRef | None
    status: str
    updated_at: Time
    user: UserRef
    version: int


class ReleaseSdkAnswer(ReleaseAnswer):
    oci_image: IdRef | None


AnyReleaseAnswer = ReleaseSdkAnswer | ReleaseAnswer


class NewRelease(Body):
    """One of them: a release to go back to, or a slug to deploy."""

    release: str | int | None = Field(None, description="Id or version of the release to go back to.")
    slug: str | None = Field(None, description="Id of the image to deploy with the app's present settings.")
    description: str | None = Field(None, max_length=300)


def release_answer(request: ApiRequest, app: App, release: Release) -> AnyReleaseAnswer:
    """`app` with its owner, `release` with its image and who made it."""
    image = release.image
    is_usable = image is not None and image.collected_at is None and release.status == ReleaseStatus.SUCCEEDED
    slug = IdRef(id=image.pk) if image else None
    values: dict[str, Any] = {
        "addon_plan_names": [],
        "app": app_ref(app),
        "artifacts": [Artifact(type="slug", id=image.pk)] if image else [],
        "created_at": release.created_at,
        "current": release.pk == app.current_release_id,
        "description": release.description,
        "eligible_for_rollback": is_usable,
        "id": release.pk,
        "output_stream_url": stream_url(request, output_path(release)) if release.release_command else None,
        "slug": slug,
        "status": STATUS[ReleaseStatus(release.status)],
        "updated_at": release.finished_at or release.updated_at,
        "user": user_ref(release.created_by or app.owner),
        "version": release.version,
    }
    return ReleaseSdkAnswer(**values, oci_image=None) if request.is_sdk else ReleaseAnswer(**values)


def find_release(app: App, identity: str) -> Release:
    """By version or id."""
    if not is_id(identity):
        return get_release(app, identity)
    release = app.releases.select_related("image", "created_by", "copied_from").filter(pk=identity).first()
    if release is None:
        raise missing("release")
    return release


@router.get("/apps/{identity}/releases", response=list[AnyReleaseAnswer])
def list_releases(request: ApiRequest, identity: str) -> list[AnyReleaseAnswer]:
    app = find_app(request, identity)
    rows = timeline(app).prefetch_related(None)
    return [release_answer(request, app, each) for each in page(request, rows, ordered_by="version", version="version")]


@router.post("/apps/{identity}/releases", response={201: AnyReleaseAnswer})
def create_release(request: ApiRequest, identity: str, body: NewRelease) -> AnyReleaseAnswer:
    """With `release` a rollback, for operators; with `slug` a deploy, for developers."""
    app = find_app(request, identity, Role.OPERATOR)
    if body.release is not None:
        target = find_release(app, str(body.release))
        made = services.roll_back(app, target, by=request.user)
    elif body.slug is not None:
        check_role(app, request.user, Role.DEVELOPER)
        image = _image(app, body.slug)
        description = body.description or f"Deploy {image.commit[:8] or image.digest[:19]}"
        made = services.create_deploy(app, image, by=request.user, description=description)
    else:
        raise InvalidInput("There is neither a release nor a slug.", hint="Send the id of one of them.")
    app.refresh_from_db()
    return release_answer(request, app, made)


@router.get("/apps/{identity}/releases/{release}", response=AnyReleaseAnswer)
def release_info(request: ApiRequest, identity: str, release: str) -> AnyReleaseAnswer:
    app = find_app(request, identity)
    return release_answer(request, app, find_release(app, release))


@router.get(
    "/apps/{identity}/releases/{release}/config-vars", response=dict[str, str], auth=TokenAuth(reading=Scope.WRITE)
)
def release_config_vars(request: ApiRequest, identity: str, release: str) -> dict[str, str]:
    """The config as it was then. Recorded, as all looks at values are."""
    app = find_app(request, identity, Role.OPERATOR)
    return dict(sorted(services.reveal_release_config(app, find_release(app, release), by=request.user).items()))


def _image(app: App, slug: str) -> Image:
    image = app.images.filter(pk=slug).first() if is_id(slug) else None
    if image is None:
        raise missing("slug")
    check_not_collected(image, f"slug {image.pk}")
    return image
