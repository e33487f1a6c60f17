"""People on this platform, tokens, invitations. All but one's own tokens is for admins."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db.models import QuerySet
from ninja import Router
from pydantic import Field

from paas.accounts import services
from paas.accounts.models import ApiToken, Scope, User
from paas.accounts.selectors import check_admin, get_token, get_user, user_by_id, users_with_numbers
from paas.api.auth import ApiRequest, TokenAuth, find_app
from paas.api.platform.access import InvitationAnswer, invitation_answer
from paas.api.ranges import page
from paas.api.schemas import Answer, Body, Time
from paas.apps.selectors import platform_invitation, platform_invitations
from paas.apps.services import revoke_invitation
from paas.core.ids import uuid_of
from paas.hooks.services.mails import invite_by_mail

router = Router(tags=["People"], auth=TokenAuth(reading=Scope.GLOBAL, writing=Scope.GLOBAL))


class UserAnswer(Answer):
    id: UUID
    email: str
    name: str | None
    is_admin: bool
    is_active: bool
    can_create_apps: bool
    two_factor: bool
    apps: int
    last_sign_in_at: Time | None


class NewUser(Body):
    email: str
    password: str
    name: str = ""
    is_admin: bool = False


class UserChange(Body):
    name: str | None = None
    is_admin: bool | None = None
    is_active: bool | None = Field(None, description="false ends sessions and tokens at once.")
    can_create_apps: bool | None = None
    password: str | None = None


class NewPlatformInvitation(Body):
    email: str
    is_admin: bool = False


class TokenAnswer(Answer):
    id: UUID
    name: str
    prefix: str
    scopes: list[str]
    app: str | None
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None
    last_used_from: str | None


class NewTokenAnswer(TokenAnswer):
    secret: str = Field(description="Shown once, kept nowhere.")


class NewToken(Body):
    name: str
    scopes: list[str] = [Scope.GLOBAL.value]
    app: str | None = Field(None, description="Good for this app alone.")
    days: int | None = Field(None, ge=1, le=3650, description="How long it is valid; for ever without.")


def _found(identity: str) -> User:
    """By e-mail or id. Raises `NotFound`."""
    try:
        return user_by_id(UUID(identity))
    except ValueError:
        return get_user(identity)


def _user_answer(user_id: UUID) -> UserAnswer:
    return _answer(users_with_numbers().get(pk=user_id))


def _answer(user: User) -> UserAnswer:
    """`user` as `users_with_numbers` has it."""
    return UserAnswer(
        id=user.pk,
        email=user.email,
        name=user.name or None,
        is_admin=user.is_admin,
        is_active=user.is_active,
        can_create_apps=user.may_create_apps,
        two_factor=bool(getattr(user, "two_factor_count", 0)),
        apps=getattr(user, "app_count", 0),
        last_sign_in_at=user.last_login,
    )


def _token_values(token: ApiToken) -> dict[str, object]:
    return {
        "id": token.pk,
        "name": token.name,
        "prefix": token.prefix,
        "scopes": token.scopes,
        "app": token.app.name if token.app else None,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "last_used_at": token.last_used_at,
        "last_used_from": token.last_used_from or None,
    }


def _tokens(request: ApiRequest, rows: QuerySet[ApiToken]) -> list[TokenAnswer]:
    return [TokenAnswer.model_validate(_token_values(each)) for each in page(request, rows.select_related("app"))]


@router.get("/people", response=list[UserAnswer])
def list_users(request: ApiRequest) -> list[UserAnswer]:
    check_admin(request.user)
    return [_answer(user) for user in page(request, users_with_numbers(), ordered_by="email", email="email")]


@router.post("/people", response={201: UserAnswer})
def create_user(request: ApiRequest, body: NewUser) -> UserAnswer:
    check_admin(request.user)
    made = services.create_user(
        email=body.email, password=body.password, name=body.name, is_admin=body.is_admin, by=request.user
    )
    return _user_answer(made.pk)


@router.get("/people/{person}", response=UserAnswer)
def user_info(request: ApiRequest, person: str) -> UserAnswer:
    check_admin(request.user)
    return _user_answer(_found(person).pk)


@router.patch("/people/{person}", response=UserAnswer)
def update_user(request: ApiRequest, person: str, body: UserChange) -> UserAnswer:
    """What is left out stays."""
    check_admin(request.user)
    found, by = _found(person), request.user
    if body.name is not None:
        services.rename_user(found, body.name, by=by)
    if body.password is not None:
        services.set_password(found, body.password, by=by)
    if body.is_active:
        services.activate_user(found, by=by)
    if body.is_admin is not None:
        services.set_admin(found, body.is_admin, by=by)
    if body.can_create_apps is not None:
        services.allow_creating_apps(found, body.can_create_apps, by=by)
    if body.is_active is False:
        services.deactivate_user(found, by=by)
    return _user_answer(found.pk)


@router.delete("/people/{person}/two-factor", response=UserAnswer)
def delete_two_factor(request: ApiRequest, person: str) -> UserAnswer:
    """For somebody who lost the phone and the recovery codes."""
    check_admin(request.user)
    found = _found(person)
    services.reset_two_factor(found, by=request.user)
    return _user_answer(found.pk)


@router.get("/people/{person}/tokens", response=list[TokenAnswer])
def tokens_of_user(request: ApiRequest, person: str) -> list[TokenAnswer]:
    check_admin(request.user)
    return _tokens(request, _found(person).tokens.all())


@router.delete("/people/{person}/tokens/{token}", response=TokenAnswer)
def revoke_token_of_user(request: ApiRequest, person: str, token: str) -> TokenAnswer:
    check_admin(request.user)
    return _revoke(request, get_token(_found(person), uuid_of(token)))


@router.get("/tokens", response=list[TokenAnswer])
def list_tokens(request: ApiRequest) -> list[TokenAnswer]:
    """One's own. The secrets are kept nowhere."""
    return _tokens(request, request.user.tokens.all())


@router.post("/tokens", response={201: NewTokenAnswer})
def create_token(request: ApiRequest, body: NewToken) -> NewTokenAnswer:
    app = find_app(request, body.app) if body.app else None
    token, secret = services.create_token(
        request.user,
        name=body.name,
        by=request.user,
        lifetime=timedelta(days=body.days) if body.days else None,
        scopes=body.scopes,
        app_id=app.pk if app else None,
        app_name=app.name if app else "",
    )
    return NewTokenAnswer.model_validate({**_token_values(token), "secret": secret})


@router.delete("/tokens/{token}", response=TokenAnswer)
def revoke_token(request: ApiRequest, token: str) -> TokenAnswer:
    return _revoke(request, get_token(request.user, uuid_of(token)))


def _revoke(request: ApiRequest, token: ApiToken) -> TokenAnswer:
    shown = TokenAnswer.model_validate(_token_values(token))
    services.revoke_token(token, by=request.user)
    return shown


@router.get("/invitations", response=list[InvitationAnswer])
def list_invitations(request: ApiRequest) -> list[InvitationAnswer]:
    """All that are open, those to apps as well."""
    check_admin(request.user)
    return [invitation_answer(each) for each in page(request, platform_invitations())]


@router.post("/invitations", response={201: InvitationAnswer})
def create_invitation(request: ApiRequest, body: NewPlatformInvitation) -> InvitationAnswer:
    """A link with which somebody new becomes a user, once, within a week."""
    check_admin(request.user)
    invitation, secret, _ = invite_by_mail(email=body.email, by=request.user, is_admin=body.is_admin)
    return invitation_answer(invitation, secret)


@router.delete("/invitations/{invitation}", response=InvitationAnswer)
def delete_invitation(request: ApiRequest, invitation: str) -> InvitationAnswer:
    check_admin(request.user)
    found = platform_invitation(uuid_of(invitation))
    shown = invitation_answer(found)
    revoke_invitation(found, by=request.user)
    return shown
