"""Tags: names for images, made, moved, protected, deployed."""

from __future__ import annotations

from typing import Any

from ninja import Router

from paas.api.auth import ApiRequest, find_app
from paas.api.platform.releases import PreviewAnswer, ReleaseDetails, details_of, preview_answer, seen_version
from paas.api.ranges import page
from paas.api.schemas import Answer, Body, Time
from paas.apps.models import App, Role
from paas.releases import tags
from paas.releases.models import Tag
from paas.releases.selectors import deploy_preview, get_tag, named_image, newest_releases, tags_of
from paas.releases.services import deploy_tag
from runtime.errors import InvalidInput

router = Router(tags=["Tags"])


class TagAnswer(Answer):
    name: str
    image: str
    commit: str | None
    commit_subject: str | None
    own: bool
    protected: bool
    in_registry: bool
    release: int | None
    updated_at: Time


class TagChange(Body):
    target: str | None = None
    protected: bool | None = None


class Deploy(Body):
    why: str = ""
    seen: int | None = None


def _answer(tag: Tag, releases: dict[Any, int]) -> TagAnswer:
    return TagAnswer(
        name=tag.name,
        image=tag.image.digest,
        commit=tag.image.commit or None,
        commit_subject=tag.image.commit_subject or None,
        own=not tags.is_ours(tag.name),
        protected=tag.protected,
        in_registry=tag.is_published,
        release=releases.get(tag.image_id),
        updated_at=tag.updated_at,
    )


def _shown(app: App, name: str) -> TagAnswer:
    tag = get_tag(app, name)
    return _answer(tag, newest_releases(app, [tag.image]))


@router.get("/apps/{identity}/tags", response=list[TagAnswer])
def list_tags(request: ApiRequest, identity: str) -> list[TagAnswer]:
    """`own`: made by people. `release`: the newest that ran its image."""
    app = find_app(request, identity)
    rows = page(request, tags_of(app), ordered_by="name", name="name")
    releases = newest_releases(app, [tag.image for tag in rows])
    return [_answer(tag, releases) for tag in rows]


@router.get("/apps/{identity}/tags/{tag}", response=TagAnswer)
def tag_info(request: ApiRequest, identity: str, tag: str) -> TagAnswer:
    return _shown(find_app(request, identity), tag)


@router.put("/apps/{identity}/tags/{tag}", response=TagAnswer)
def put_tag(request: ApiRequest, identity: str, tag: str, body: TagChange) -> TagAnswer:
    """Make it, or move it, to the image of a release or of another tag; protect it from that, or no more. A new one
    without a target points to the image that runs."""
    app = find_app(request, identity, Role.OPERATOR)
    is_new = not tags_of(app).filter(name=tag).exists()
    if body.target is None and body.protected is None and not is_new:
        raise InvalidInput("There is nothing to change.", hint="Give target, protected, or both.", id="nothing_to_change")
    if body.protected is False:
        tags.protect_tag(app, tag, False, by=request.user)
    if body.target is not None or is_new:
        tags.add_tag(app, tag, named_image(app, body.target or "latest"), by=request.user)
    if body.protected:
        tags.protect_tag(app, tag, True, by=request.user)
    return _shown(app, tag)


@router.delete("/apps/{identity}/tags/{tag}", response=TagAnswer)
def delete_tag(request: ApiRequest, identity: str, tag: str) -> TagAnswer:
    app = find_app(request, identity, Role.OPERATOR)
    tags.check_name(tag)
    shown = _shown(app, tag)
    tags.remove_tag(app, tag, by=request.user)
    return shown


@router.get("/apps/{identity}/tags/{tag}/deploy", response=PreviewAnswer)
def preview_deploy(request: ApiRequest, identity: str, tag: str) -> PreviewAnswer:
    """What a deploy of it would change."""
    app = find_app(request, identity)
    seen = seen_version(app)
    return preview_answer(deploy_preview(app, get_tag(app, tag).image, tag), seen)


@router.post("/apps/{identity}/tags/{tag}/deploy", response={201: ReleaseDetails})
def deploy(request: ApiRequest, identity: str, tag: str, body: Deploy) -> ReleaseDetails | None:
    """Release its image with the app's present settings."""
    app = find_app(request, identity, Role.DEVELOPER)
    return details_of(app, deploy_tag(app, tag, by=request.user, why=body.why, seen=body.seen))
