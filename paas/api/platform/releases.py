"""Releases with all that they hold, what differs between two, going back to one, keeping one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import Prefetch, QuerySet
from ninja import Router

from paas.api.auth import ApiRequest, find_app
from paas.api.ranges import page
from paas.api.schemas import Answer, Body, Time
from paas.apps.models import App, Role
from paas.releases import diff as differences
from paas.releases import services
from paas.releases.models import Release, Tag
from paas.releases.selectors import (
    PARTS,
    current_release,
    get_release,
    named_release,
    release_diff,
    rollback_preview,
    rollback_target,
    wished_release,
)
from runtime.errors import NotFound, UserError

router = Router(tags=["Releases"])


class PortOfRelease(Answer):
    process: str
    port: int
    protocol: str
    public_address: str | None
    public_port: int | None


class ReleaseDetails(Answer):
    """All that a release holds; config vars by name."""

    id: UUID
    version: int
    status: str
    current: bool
    pinned: bool
    kind: str
    description: str
    why: str | None
    by: str | None
    door: str | None
    created_at: Time
    finished_at: Time | None
    copied_from: int | None
    error_id: str | None
    reason: str | None
    hint: str | None
    image: str | None
    image_size: int | None
    image_collected_at: Time | None
    commit: str | None
    commit_subject: str | None
    tags: list[str]
    process_types: dict[str, str]
    release_command: str | None
    config_names: list[str]
    ports: list[PortOfRelease]
    limits: dict[str, dict[str, int]]
    health_checks: dict[str, dict[str, Any]]


class ChangeAnswer(Answer):
    group: str
    subject: str
    turn: str
    before: str | None
    after: str | None


class CommitAnswer(Answer):
    sign: str
    id: str
    subject: str
    author: str
    at: Time


class DiffAnswer(Answer):
    """What differs. `lines` has all of it as text."""

    before: str
    after: str
    empty: bool
    code: str | None
    size: str | None
    changes: list[ChangeAnswer]
    commits: list[CommitAnswer]
    lines: list[str]


class ProblemAnswer(Answer):
    id: str
    message: str
    hint: str


class PreviewAnswer(DiffAnswer):
    """`seen` is what it was compared with: send it along, and nothing is done when something has changed since."""

    seen: int
    refusal: ProblemAnswer | None


class Rollback(Body):
    only: list[str] | None = None
    why: str = ""
    seen: int | None = None


def releases_in_full(app: App) -> QuerySet[Release]:
    tags = Prefetch("image__tags", queryset=Tag.objects.filter(is_removed=False).order_by("name"))
    rows = app.releases.select_related("created_by", "image", "copied_from")
    return rows.defer("image__layers", "copied_from__config").prefetch_related(tags)


def details(app: App, release: Release) -> ReleaseDetails:
    """`release` as `releases_in_full` has it."""
    image = release.image
    return ReleaseDetails(
        id=release.pk,
        version=release.version,
        status=release.status,
        current=release.pk == app.current_release_id,
        pinned=release.pinned,
        kind=release.kind,
        description=release.description,
        why=release.why or None,
        by=release.created_by.email if release.created_by else None,
        door=release.door or None,
        created_at=release.created_at,
        finished_at=release.finished_at,
        copied_from=release.copied_from.version if release.copied_from else None,
        error_id=release.error_id or None,
        reason=release.reason or None,
        hint=release.hint or None,
        image=image.digest if image else None,
        image_size=image.size_bytes if image else None,
        image_collected_at=image.collected_at if image else None,
        commit=(image.commit or None) if image else None,
        commit_subject=(image.commit_subject or None) if image else None,
        tags=[tag.name for tag in image.tags.all()] if image else [],
        process_types=release.process_types,
        release_command=release.release_command or None,
        config_names=sorted(release.config),
        ports=[PortOfRelease(**{name: port.get(name) for name in PortOfRelease.model_fields}) for port in release.ports],
        limits=release.limits,
        health_checks=release.health,
    )


def details_of(app: App, release: Release | None) -> ReleaseDetails | None:
    """As it is now; None for a change that changed nothing."""
    if release is None:
        return None
    app.refresh_from_db(fields=["current_release"])
    return details(app, releases_in_full(app).get(pk=release.pk))


def find_release(app: App, identity: str) -> Release:
    """By version (`7`, `v7`), id or tag; `~current`, or `~previous` for the one that a rollback without a target goes
    to. Raises `NotFound`."""
    if identity == "~previous":
        return rollback_target(app)
    if identity == "~current":
        release = current_release(app)
        if release is None:
            raise NotFound(f"{app.name} has no release yet.", id="release_not_found")
        return release
    try:
        key = UUID(identity)
    except ValueError:
        return named_release(app, identity)
    release = app.releases.select_related("image").filter(pk=key).first()
    return release or get_release(app, identity)


def diff_answer(diff: differences.Diff) -> DiffAnswer:
    return DiffAnswer(**_diff_values(diff))


def preview_answer(diff: differences.Diff, seen: int, refusal: UserError | None = None) -> PreviewAnswer:
    problem = ProblemAnswer(id=refusal.id, message=refusal.message, hint=refusal.hint) if refusal else None
    return PreviewAnswer(**_diff_values(diff), seen=seen, refusal=problem)


def _diff_values(diff: differences.Diff) -> dict[str, Any]:
    history = diff.history
    return {
        "before": diff.before.title,
        "after": diff.after.title,
        "empty": diff.is_empty,
        "code": diff.code or None,
        "size": diff.size or None,
        "changes": [
            ChangeAnswer(
                group=group, subject=change.subject, turn=change.turn.value, before=change.before, after=change.after
            )
            for group, changes in diff.groups
            for change in changes
        ],
        "commits": [
            CommitAnswer(sign=sign, id=commit.id, subject=commit.subject, author=commit.author, at=commit.at)
            for sign, commits in ((("-", history.removed), ("+", history.added)) if history else ())
            for commit in commits
        ],
        "lines": list(diff.lines()),
    }


def seen_version(app: App) -> int:
    release = wished_release(app)
    return release.version if release else 0


def _parts(only: str | Sequence[str] | None) -> Sequence[str]:
    if only is None:
        return PARTS
    return [part.strip() for part in only.split(",") if part.strip()] if isinstance(only, str) else only


@router.get("/apps/{identity}/release-details", response=list[ReleaseDetails])
def list_release_details(request: ApiRequest, identity: str) -> list[ReleaseDetails]:
    """Newest first with `Range: version ..; order=desc,max=15`."""
    app = find_app(request, identity)
    rows = page(request, releases_in_full(app), ordered_by="version", version="version")
    return [details(app, release) for release in rows]


@router.get("/apps/{identity}/release-details/{release}", response=ReleaseDetails)
def release_details(request: ApiRequest, identity: str, release: str) -> ReleaseDetails:
    app = find_app(request, identity)
    return details(app, releases_in_full(app).get(pk=find_release(app, release).pk))


@router.get("/apps/{identity}/releases/{release}/diff", response=DiffAnswer)
def diff_with_present(request: ApiRequest, identity: str, release: str) -> DiffAnswer:
    """What differs between it and what the app wishes for now."""
    app = find_app(request, identity)
    before, after = find_release(app, release), wished_release(app)
    assert after is not None  # there is one
    return diff_answer(release_diff(app, before, after))


@router.get("/apps/{identity}/releases/{release}/diff/{other}", response=DiffAnswer)
def diff_of_two(request: ApiRequest, identity: str, release: str, other: str) -> DiffAnswer:
    app = find_app(request, identity)
    return diff_answer(release_diff(app, find_release(app, release), find_release(app, other)))


@router.get("/apps/{identity}/releases/{release}/rollback", response=PreviewAnswer)
def preview_rollback(request: ApiRequest, identity: str, release: str, only: str | None = None) -> PreviewAnswer:
    """What it would change. `only`: a choice of code, config, ports, limits, health, with commas between."""
    app = find_app(request, identity, Role.OPERATOR)
    target, seen = find_release(app, release), seen_version(app)
    preview = rollback_preview(app, target, by=request.user, only=_parts(only))
    return preview_answer(preview.diff, seen, preview.refusal)


@router.post("/apps/{identity}/releases/{release}/rollback", response={201: ReleaseDetails})
def roll_back(request: ApiRequest, identity: str, release: str, body: Rollback) -> ReleaseDetails | None:
    app = find_app(request, identity, Role.OPERATOR)
    target = find_release(app, release)
    made = services.roll_back(app, target, by=request.user, only=_parts(body.only), why=body.why, seen=body.seen)
    return details_of(app, made)


@router.put("/apps/{identity}/releases/{release}/pin", response=ReleaseDetails)
def pin(request: ApiRequest, identity: str, release: str) -> ReleaseDetails | None:
    return _pin(request, identity, release, True)


@router.delete("/apps/{identity}/releases/{release}/pin", response=ReleaseDetails)
def unpin(request: ApiRequest, identity: str, release: str) -> ReleaseDetails | None:
    return _pin(request, identity, release, False)


def _pin(request: ApiRequest, identity: str, release: str, on: bool) -> ReleaseDetails | None:
    app = find_app(request, identity, Role.OPERATOR)
    found = find_release(app, release)
    services.set_pinned(found, on, by=request.user)
    return details_of(app, found)
