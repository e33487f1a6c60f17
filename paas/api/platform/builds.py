"""Builds with all that is known of them, and what they said."""

from __future__ import annotations

from uuid import UUID

from ninja import Router
from pydantic import Field

from paas.api.auth import ApiRequest, find_app
from paas.api.errors import Refusal
from paas.api.ranges import page
from paas.api.schemas import Answer, Time
from paas.apps.models import App, Role
from paas.builds import log, services
from paas.builds.models import Build
from paas.builds.selectors import get_build

router = Router(tags=["Builds"])
MOST_LINES = 5000


class BuildDetails(Answer):
    id: UUID
    number: int
    status: str
    commit: str
    commit_subject: str | None
    image: str | None
    release: int | None
    by: str | None
    error_id: str | None
    reason: str | None
    hint: str | None
    seconds: dict[str, float]
    created_at: Time
    started_at: Time | None
    finished_at: Time | None


class OutputAnswer(Answer):
    lines: list[str]
    cursor: int = Field(description="How many lines there are before the next one: send it as `after`.")
    ended: bool


def _details(build: Build) -> BuildDetails:
    return BuildDetails(
        id=build.pk,
        number=build.number,
        status=build.status,
        commit=build.new,
        commit_subject=build.commit_subject or None,
        image=build.image.digest if build.image else None,
        release=build.release.version if build.release else None,
        by=build.created_by.email if build.created_by else None,
        error_id=build.error_id or None,
        reason=build.reason or None,
        hint=build.hint or None,
        seconds=build.seconds,
        created_at=build.created_at,
        started_at=build.started_at,
        finished_at=build.finished_at,
    )


def _find(app: App, number: str) -> Build:
    """`~` is the newest. Raises `NotFound`."""
    return get_build(app, None if number == "~" else number)


@router.get("/apps/{identity}/build-details", response=list[BuildDetails])
def list_build_details(request: ApiRequest, identity: str) -> list[BuildDetails]:
    """Newest first with `Range: number ..; order=desc,max=15`."""
    rows = find_app(request, identity).builds.select_related("release", "image", "created_by")
    rows = rows.defer("release__config", "image__layers")
    return [_details(build) for build in page(request, rows, ordered_by="number", number="number")]


@router.get("/apps/{identity}/build-details/{number}", response=BuildDetails)
def build_details(request: ApiRequest, identity: str, number: str) -> BuildDetails:
    return _details(_find(find_app(request, identity), number))


@router.get("/apps/{identity}/build-details/{number}/output", response=OutputAnswer)
def build_output(request: ApiRequest, identity: str, number: str, after: str = "0") -> OutputAnswer:
    """What it said after so many lines, as far as it is written."""
    build = _find(find_app(request, identity), number)
    if not (after.isascii() and after.isdigit() and len(after) < 10):
        raise Refusal(422, "invalid_params", "after is no number of lines.", hint="Send the cursor of the last answer.")
    seen = int(after)
    lines = list(log.written(build.pk, after=seen, most=MOST_LINES))
    is_all = len(lines) < MOST_LINES
    return OutputAnswer(lines=lines, cursor=seen + len(lines), ended=build.is_finished and is_all)


@router.post("/apps/{identity}/build-details/{number}/cancel", response=BuildDetails)
def cancel(request: ApiRequest, identity: str, number: str) -> BuildDetails:
    """A waiting one ends at once, a running one when its container is dead."""
    app = find_app(request, identity, Role.OPERATOR)
    build = _find(app, number)
    services.cancel_build(build, by=request.user)
    return _details(get_build(app, build.number))
