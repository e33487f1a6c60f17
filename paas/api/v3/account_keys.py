"""SSH keys of one's own."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q
from ninja import Router
from pydantic import Field

from paas.accounts.models import Scope, SSHKey
from paas.accounts.services import add_key, remove_key
from paas.api.auth import ApiRequest, TokenAuth
from paas.api.errors import missing
from paas.api.ranges import page
from paas.api.schemas import Answer, Body, Time
from paas.core.ids import uuid_of

router = Router(tags=["Account"], auth=TokenAuth(reading=Scope.GLOBAL, writing=Scope.GLOBAL))


class AccountKeyAnswer(Answer):
    comment: str
    created_at: Time
    email: str
    fingerprint: str
    id: UUID
    public_key: str
    updated_at: Time


class NewAccountKey(Body):
    public_key: str = Field(description="The line of a .pub file.")


def key_answer(key: SSHKey) -> AccountKeyAnswer:
    return AccountKeyAnswer(
        comment=key.name,
        created_at=key.created_at,
        email=key.user.email,
        fingerprint=key.fingerprint,
        id=key.pk,
        public_key=f"{key.public_key} {key.name}",
        updated_at=key.updated_at,
    )


@router.get("/account/keys", response=list[AccountKeyAnswer])
def list_keys(request: ApiRequest) -> list[AccountKeyAnswer]:
    return [key_answer(key) for key in page(request, request.user.ssh_keys.select_related("user"))]


@router.post("/account/keys", response={201: AccountKeyAnswer})
def create_key(request: ApiRequest, body: NewAccountKey) -> AccountKeyAnswer:
    return key_answer(add_key(request.user, text=body.public_key, by=request.user))


@router.get("/account/keys/{path:identity}", response=AccountKeyAnswer)
def key_info(request: ApiRequest, identity: str) -> AccountKeyAnswer:
    return key_answer(_find(request, identity))


@router.delete("/account/keys/{path:identity}", response=AccountKeyAnswer)
def delete_key(request: ApiRequest, identity: str) -> AccountKeyAnswer:
    key = _find(request, identity)
    shown = key_answer(key)
    remove_key(key, by=request.user)
    return shown


def _find(request: ApiRequest, identity: str) -> SSHKey:
    """By id, or by fingerprint."""
    keys = request.user.ssh_keys.select_related("user")
    key = keys.filter(Q(pk=uuid_of(identity)) | Q(fingerprint=identity)).first()
    if key is None:
        raise missing("key")
    return key
