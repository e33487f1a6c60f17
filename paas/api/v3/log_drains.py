"""Log drains: where the log of an app goes as well."""

from __future__ import annotations

from uuid import UUID

from ninja import Router

from paas.api.auth import ApiRequest, find_app
from paas.api.ranges import page
from paas.api.schemas import Answer, Body, NamedRef, Time, app_ref
from paas.apps.models import Role
from paas.hooks.models import Drain
from paas.hooks.selectors import drains_of, get_drain
from paas.hooks.services import drains

router = Router(tags=["Log drains"])


class DrainAnswer(Answer):
    addon: NamedRef | None
    app: NamedRef | None
    created_at: Time
    id: UUID
    token: str
    updated_at: Time
    url: str


class NewDrain(Body):
    url: str


def drain_answer(row: Drain) -> DrainAnswer:
    return DrainAnswer(
        addon=None,
        app=app_ref(row.app) if row.app else None,
        created_at=row.created_at,
        id=row.pk,
        token=row.token,
        updated_at=row.updated_at,
        url=row.url,
    )


@router.get("/apps/{identity}/log-drains", response=list[DrainAnswer])
def list_drains(request: ApiRequest, identity: str) -> list[DrainAnswer]:
    app = find_app(request, identity, Role.OPERATOR)
    return [drain_answer(row) for row in page(request, drains_of(app))]


@router.post("/apps/{identity}/log-drains", response={201: DrainAnswer})
def create_drain(request: ApiRequest, identity: str, body: NewDrain) -> DrainAnswer:
    app = find_app(request, identity, Role.OPERATOR)
    return drain_answer(drains.add_drain(app, body.url, by=request.user))


# The whole URL may stand for the drain; it arrives decoded, slashes and all.
@router.get("/apps/{identity}/log-drains/{path:drain}", response=DrainAnswer)
def drain_info(request: ApiRequest, identity: str, drain: str) -> DrainAnswer:
    return drain_answer(get_drain(find_app(request, identity, Role.OPERATOR), drain))


@router.delete("/apps/{identity}/log-drains/{path:drain}", response=DrainAnswer)
def delete_drain(request: ApiRequest, identity: str, drain: str) -> DrainAnswer:
    row = get_drain(find_app(request, identity, Role.OPERATOR), drain)
    shown = drain_answer(row)
    drains.remove_drain(row, by=request.user)
    return shown
