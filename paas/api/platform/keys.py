"""Your SSH keys, with more than the Platform API says of them."""

from __future__ import annotations

from uuid import UUID

from ninja import Router

from paas.accounts.models import Scope, SSHKey
from paas.accounts.selectors import get_key
from paas.accounts.services import add_key, remove_key
from paas.api.auth import ApiRequest, TokenAuth
from paas.api.schemas import Answer, Body, Time
from paas.core.ids import uuid_of

router = Router(tags=["Account"], auth=TokenAuth(reading=Scope.GLOBAL, writing=Scope.GLOBAL))


class Key(Answer):
    id: UUID
    name: str
    type: str
    bits: int
    fingerprint: str
    public_key: str
    created_at: Time
    last_used_at: Time | None


class NewKey(Body):
    public_key: str
    name: str = ""


def _answer(key: SSHKey) -> Key:
    return Key(
        id=key.pk,
        name=key.name,
        type=key.kind,
        bits=key.bits,
        fingerprint=key.fingerprint,
        public_key=key.public_key,
        created_at=key.created_at,
        last_used_at=key.last_used_at,
    )


@router.get("/keys", response=list[Key])
def list_keys(request: ApiRequest) -> list[Key]:
    return [_answer(key) for key in request.user.ssh_keys.all()]


@router.post("/keys", response={201: Key})
def create_key(request: ApiRequest, body: NewKey) -> Key:
    return _answer(add_key(request.user, text=body.public_key, name=body.name, by=request.user))


@router.delete("/keys/{key_id}", response=Key)
def delete_key(request: ApiRequest, key_id: str) -> Key:
    key = get_key(request.user, uuid_of(key_id))
    answer = _answer(key)
    remove_key(key, by=request.user)
    return answer
