"""Where to upload the archive of a build to."""

from __future__ import annotations

from ninja import Router

from paas.api.auth import ApiRequest, find_app
from paas.api.schemas import Answer
from paas.apps.models import Role
from paas.builds.sources import create_source

router = Router(tags=["Builds"])


class Addresses(Answer):
    get_url: str
    put_url: str


class SourceAnswer(Answer):
    source_blob: Addresses


@router.post("/sources", response={201: SourceAnswer})
def new_source(request: ApiRequest) -> SourceAnswer:
    """PUT a tar or a zip to put_url within an hour, then build from get_url. Whoever has the addresses may use them."""
    return _made(request)


@router.post("/apps/{identity}/sources", response={201: SourceAnswer})
def new_source_of_app(request: ApiRequest, identity: str) -> SourceAnswer:
    find_app(request, identity, Role.DEVELOPER)
    return _made(request)


def _made(request: ApiRequest) -> SourceAnswer:
    upload = create_source(by=request.user)
    return SourceAnswer(
        source_blob=Addresses(
            get_url=request.build_absolute_uri(upload.get_path), put_url=request.build_absolute_uri(upload.put_path)
        )
    )
