"""Slugs are what the Platform API calls images."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from ninja import Router

from paas.api.auth import ApiRequest, find_app
from paas.api.errors import Refusal, missing
from paas.api.schemas import Answer, NamedRef, Time, made_up
from paas.apps.models import App, Role
from paas.core.ids import uuid_of
from paas.releases.models import Image

router = Router(tags=["Releases"])


class BlobAnswer(Answer):
    method: str
    url: str


class SlugAnswer(Answer):
    blob: BlobAnswer
    buildpack_provided_description: str | None
    checksum: str | None
    commit: str | None
    commit_description: str | None
    created_at: Time
    deleted_at: Time | None
    id: UUID
    process_types: dict[str, str]
    size: int | None
    stack: NamedRef
    updated_at: Time


def slug_answer(app: App, image: Image) -> SlugAnswer:
    command = {"release": image.release_command} if image.release_command else {}
    return SlugAnswer(
        # No archive, but where the image's manifest is, for whoever may pull it.
        blob=BlobAnswer(
            method="GET", url=f"{settings.ENV.address('registry', 'https')}/v2/{app.name}/web/manifests/{image.digest}"
        ),
        buildpack_provided_description=", ".join(image.buildpacks) or None,
        checksum=image.digest.replace("sha256:", "SHA256:"),
        commit=image.commit or None,
        commit_description=image.commit_subject or None,
        created_at=image.created_at,
        deleted_at=image.collected_at,
        id=image.pk,
        process_types={**image.process_types, **command},
        size=image.size_bytes,
        stack=made_up("stack", image.stack),
        updated_at=image.updated_at,
    )


@router.get("/apps/{identity}/slugs/{slug_id}", response=SlugAnswer)
def slug_info(request: ApiRequest, identity: str, slug_id: str) -> SlugAnswer:
    app = find_app(request, identity)
    image = app.images.filter(pk=uuid_of(slug_id)).first()
    if image is None:
        raise missing("slug")
    return slug_answer(app, image)


@router.post("/apps/{identity}/slugs", response={201: SlugAnswer})
def create_slug(request: ApiRequest, identity: str) -> SlugAnswer:
    """Refused: an archive of a ready-made /app fits no stack but the one it was made on."""
    find_app(request, identity, Role.DEVELOPER)
    raise Refusal(
        422,
        "invalid_params",
        "Slugs that were made elsewhere can't be released here.",
        hint="Send the source: POST /sources, then POST /apps/APP/builds. Or push an image to the registry.",
        code="slugs_not_accepted",
    )
