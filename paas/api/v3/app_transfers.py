"""Hand an app over: offered and accepted, or by an owner at once."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from ninja import Router
from pydantic import Field

from paas.accounts.models import Scope, User
from paas.accounts.selectors import find_user
from paas.api.auth import ApiRequest, TokenAuth, find_app
from paas.api.errors import missing
from paas.api.ranges import page
from paas.api.schemas import Answer, Body, NamedRef, Time, UserRef, app_ref, user_ref
from paas.api.v3.apps import app_answer, with_what_is_shown
from paas.apps import transfers
from paas.apps.models import App, AppTransfer, Role
from paas.apps.services import transfer_app
from paas.core.ids import uuid_of

router = Router(tags=["People"], auth=TokenAuth(writing=Scope.GLOBAL))


class TransferAnswer(Answer):
    app: NamedRef
    created_at: Time
    id: UUID
    owner: UserRef
    recipient: UserRef
    state: str
    updated_at: Time


class NewTransfer(Body):
    app: str = Field(description="Name or id.")
    recipient: str = Field(description="E-mail or id.")
    silent: bool = False


class TransferChange(Body):
    state: Literal["accepted", "declined"]


class NewOwner(Body):
    owner: str = Field(description="E-mail or id of a collaborator.")


class NameRef(Answer):
    name: str


class TeamAppAnswer(Answer):
    archived_at: Time | None
    build_stack: NamedRef
    buildpack_provided_description: str | None
    created_at: Time
    git_url: str
    id: UUID
    internal_routing: bool | None
    joined: bool
    locked: bool
    maintenance: bool
    name: str
    owner: UserRef
    region: NamedRef
    released_at: Time | None
    repo_size: int | None
    slug_size: int | None
    space: NamedRef | None
    stack: NamedRef
    team: NameRef | None
    updated_at: Time
    web_url: str | None


@router.get("/account/app-transfers", response=list[TransferAnswer])
def list_transfers(request: ApiRequest) -> list[TransferAnswer]:
    """Made by you, and to you."""
    return [_answer(transfer) for transfer in page(request, transfers.transfers_of(request.user))]


@router.post("/account/app-transfers", response={201: TransferAnswer})
def create_transfer(request: ApiRequest, body: NewTransfer) -> TransferAnswer:
    """Nothing changes until the recipient accepts."""
    app = find_app(request, body.app, Role.OWNER)
    return _answer(transfers.offer_app(app, _user(body.recipient), by=request.user))


@router.get("/account/app-transfers/{identity}", response=TransferAnswer)
def transfer_info(request: ApiRequest, identity: str) -> TransferAnswer:
    return _answer(_find(request, identity))


@router.patch("/account/app-transfers/{identity}", response=TransferAnswer)
def update_transfer(request: ApiRequest, identity: str, body: TransferChange) -> TransferAnswer:
    """By the recipient."""
    transfer = _find(request, identity)
    if body.state == "accepted":
        transfers.accept_transfer(transfer, by=request.user)
    else:
        transfers.decline_transfer(transfer, by=request.user)
    return _answer(_find(request, identity))


@router.delete("/account/app-transfers/{identity}", response=TransferAnswer)
def delete_transfer(request: ApiRequest, identity: str) -> TransferAnswer:
    """By who made the offer, as long as nobody has answered."""
    transfer = _find(request, identity)
    transfers.withdraw_transfer(transfer, by=request.user)
    return _answer(transfer)


@router.patch("/teams/apps/{identity}", response=TeamAppAnswer)
def change_owner(request: ApiRequest, identity: str, body: NewOwner) -> TeamAppAnswer:
    """At once, without being asked: to a collaborator; an admin may choose anybody."""
    app = find_app(request, identity, Role.OWNER)
    transfer_app(app, _user(body.owner), by=request.user)
    shown = app_answer(request, with_what_is_shown(App.objects.all()).get(pk=app.pk))
    known: dict[str, Any] = {name: getattr(shown, name, None) for name in TeamAppAnswer.model_fields}
    return TeamAppAnswer(**known | {"joined": True, "locked": False})


def _user(identity: str) -> User:
    user = User.objects.filter(pk=uuid_of(identity)).first() or find_user(identity)
    if user is None:
        raise missing("user")
    return user


def _find(request: ApiRequest, identity: str) -> AppTransfer:
    transfer = transfers.transfers_of(request.user).filter(pk=uuid_of(identity)).first()
    if transfer is None:
        raise missing("app_transfer")
    return transfer


def _answer(transfer: AppTransfer) -> TransferAnswer:
    return TransferAnswer(
        app=app_ref(transfer.app),
        created_at=transfer.created_at,
        id=transfer.pk,
        owner=user_ref(transfer.owner),
        recipient=user_ref(transfer.recipient),
        state=transfer.state,
        updated_at=transfer.updated_at,
    )
