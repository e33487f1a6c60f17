"""Builds of archives and of pushes: begun, listed, stopped, and what they said."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from ninja import Router
from pydantic import Field, field_validator

from paas.api.auth import ApiRequest, find_app
from paas.api.errors import missing
from paas.api.ranges import page
from paas.api.schemas import Answer, Body, Time, UserRef, user_ref
from paas.api.streams import stream_url
from paas.api.v3.buildpack_installations import BuildpackAnswer, BuildpackChoice, buildpack_answer, given_buildpacks
from paas.api.v3.facts import GENERATION
from paas.apps.models import App, Role
from paas.apps.selectors import git_url
from paas.builds import log, services
from paas.builds.events import STATUS
from paas.builds.models import Build, BuildStatus
from paas.builds.output import output_path
from paas.builds.sources import shown_url
from paas.core.ids import uuid_of

router = Router(tags=["Builds"])
MOST_LINES = 5000


class IdRef(Answer):
    id: UUID


class SourceBlobAnswer(Answer):
    checksum: str | None
    url: str
    version: str | None
    version_description: str | None


class BuildAnswer(Answer):
    app: IdRef
    buildpacks: list[BuildpackAnswer] | None
    created_at: Time
    id: UUID
    output_stream_url: str
    source_blob: SourceBlobAnswer
    release: IdRef | None
    slug: IdRef | None
    stack: str
    status: str
    updated_at: Time
    user: UserRef


class BuildV3Answer(BuildAnswer):
    generation: str


class SourceBlobBody(Body):
    url: str = Field(description="The get_url of POST /sources, or an https URL.")
    version: str | None = Field(None, description="What the release calls it: a commit, v1.2.3.")
    version_description: str | None = None
    checksum: str | None = Field(None, description="SHA256: and 64 hex digits.")

    @field_validator("version", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


class NewBuild(Body):
    source_blob: SourceBlobBody
    buildpacks: list[BuildpackChoice] = Field([], description="For this build; otherwise those of the app.")


class CacheCleared(Answer):
    """`{}`"""


class BuildState(Answer):
    id: UUID
    output_stream_url: str
    status: str


class Line(Answer):
    line: str
    stream: str


class BuildResultAnswer(Answer):
    build: BuildState
    exit_code: int | None
    lines: list[Line]


AnyBuildAnswer = BuildV3Answer | BuildAnswer


def build_answer(request: ApiRequest, build: Build) -> AnyBuildAnswer:
    names = build.buildpacks or (build.image.buildpacks if build.image else [])
    values: dict[str, Any] = {
        "app": IdRef(id=build.app_id),
        "buildpacks": [buildpack_answer(name) for name in names] or None,
        "created_at": build.created_at,
        "id": build.pk,
        "output_stream_url": stream_url(request, output_path(build)),
        "source_blob": SourceBlobAnswer(
            checksum=build.checksum or None,
            url=shown_url(build) or f"{git_url(build.app.name)}#{build.new}",
            version=build.new or None,
            version_description=build.commit_subject or None,
        ),
        "release": IdRef(id=build.release_id) if build.release_id else None,
        "slug": IdRef(id=build.image_id) if build.image_id else None,
        "stack": build.app.stack,
        "status": STATUS[BuildStatus(build.status)],
        "updated_at": build.finished_at or build.updated_at,
        "user": user_ref(build.created_by or build.app.owner),
    }
    return BuildAnswer(**values) if request.is_sdk else BuildV3Answer(**values, generation=GENERATION)


@router.get("/apps/{identity}/builds", response=list[AnyBuildAnswer])
def list_builds(request: ApiRequest, identity: str) -> list[AnyBuildAnswer]:
    app = find_app(request, identity)
    return [build_answer(request, build) for build in page(request, _shown(app), ordered_by="number", number="number")]


@router.post("/apps/{identity}/builds", response={201: AnyBuildAnswer})
def create_build(request: ApiRequest, identity: str, body: NewBuild) -> AnyBuildAnswer:
    """In the same queue as pushes, and on the same way. Ask for it again until it is not pending any more."""
    app = find_app(request, identity, Role.DEVELOPER)
    source = body.source_blob
    build = services.start_archive_build(
        app,
        url=source.url,
        by=request.user,
        version=source.version or "",
        description=source.version_description or "",
        checksum=source.checksum or "",
        buildpacks=given_buildpacks(body.buildpacks),
    )
    return build_answer(request, build)


@router.get("/apps/{identity}/builds/{build_id}", response=AnyBuildAnswer)
def build_info(request: ApiRequest, identity: str, build_id: str) -> AnyBuildAnswer:
    return build_answer(request, find_build(find_app(request, identity), build_id))


@router.delete("/apps/{identity}/builds/{build_id}", response=AnyBuildAnswer)
def cancel_build(request: ApiRequest, identity: str, build_id: str) -> AnyBuildAnswer:
    """A waiting one ends at once, a running one as soon as its containers are dead."""
    app = find_app(request, identity, Role.OPERATOR)
    build = find_build(app, build_id)
    services.cancel_build(build, by=request.user)
    return build_answer(request, find_build(app, str(build.pk)))


@router.delete("/apps/{identity}/build-cache", response=CacheCleared)
def clear_cache(request: ApiRequest, identity: str) -> CacheCleared:
    """The next build makes everything anew."""
    services.clear_build_cache(find_app(request, identity, Role.DEVELOPER), by=request.user)
    return CacheCleared()


@router.get("/apps/{identity}/builds/{build_id}/result", response=BuildResultAnswer)
def build_result(request: ApiRequest, identity: str, build_id: str) -> BuildResultAnswer:
    """What it said, as far as it is written: the last 5,000 lines."""
    build = find_build(find_app(request, identity), build_id)
    lines, _ = log.tail(build.pk, MOST_LINES)
    status = STATUS[BuildStatus(build.status)]
    return BuildResultAnswer(
        build=BuildState(id=build.pk, output_stream_url=stream_url(request, output_path(build)), status=status),
        exit_code={"succeeded": 0, "failed": 1}.get(status),
        lines=[Line(line=f"{line}\n", stream="STDOUT") for line in lines],
    )


def find_build(app: App, identity: str) -> Build:
    """By id, or by number."""
    builds = _shown(app)
    is_number = identity.isascii() and identity.isdigit() and len(identity) < 10
    build = builds.filter(**({"number": int(identity)} if is_number else {"pk": uuid_of(identity)})).first()
    if build is None:
        raise missing("build")
    return build


def _shown(app: App) -> QuerySet[Build]:
    return app.builds.select_related("app__owner", "created_by", "image")
