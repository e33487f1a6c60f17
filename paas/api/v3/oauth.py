"""Tokens, which the Platform API calls OAuth authorizations; and the browsers that one is signed in with."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, cast
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from ninja import Router
from pydantic import BeforeValidator, Field

from paas.accounts.models import ApiToken, Scope, Session, User
from paas.accounts.selectors import browser_in_words
from paas.accounts.services import create_token, end_session, regenerate_token, rename_token, revoke_token
from paas.accounts.services.sign_in import SecondStepNeeded, WrongCode, WrongCredentials, user_by_all_steps
from paas.accounts.services.tokens import TOKEN_PREFIX
from paas.accounts.services.two_factor import has_two_factor
from paas.api.auth import ApiRequest, TokenAuth, basic_credentials, secret_of
from paas.api.errors import Refusal, missing
from paas.api.ranges import page
from paas.api.schemas import Answer, Body, Time
from paas.api.versions import variant_of
from paas.apps.models import Role
from paas.apps.selectors import get_app
from paas.core.ids import uuid_of
from paas.core.middleware import client_address

CODE_HEADER = "Heroku-Two-Factor-Code"
# Heroku's, by what is nearest to each here.
SCOPES = {"read-protected": Scope.READ, "write-protected": Scope.WRITE}


class SignIn(TokenAuth):
    """A token, or `Basic` with e-mail and password, and a code in a header where the account has a second step."""

    def __call__(self, request: HttpRequest) -> ApiToken:
        scheme, _, value = request.headers.get("Authorization", "").strip().partition(" ")
        email, password = basic_credentials(value) if scheme.lower() == "basic" else ("", "")
        if "@" not in email or password.startswith(TOKEN_PREFIX):
            return super().__call__(request)
        asked = cast("ApiRequest", request)
        asked.user = self._signed_in(request, email, password)
        asked.variant = variant_of(request)
        asked.is_sdk = asked.variant == "sdk"
        return ApiToken(user=asked.user, scopes=[Scope.GLOBAL])  # a stand-in: there is none yet

    def _signed_in(self, request: HttpRequest, email: str, password: str) -> User:
        code = request.headers.get(CODE_HEADER, "")
        try:
            user = user_by_all_steps(email, password, code=code, address=client_address(request.META))
        except WrongCredentials as exc:
            raise Refusal(401, "unauthorized", exc.message, hint=exc.hint, code=exc.id) from exc
        except (SecondStepNeeded, WrongCode) as exc:
            raise Refusal(403, "two_factor", exc.message, hint=exc.hint, code=exc.id) from exc
        if settings.ENV.admins_need_two_factor and user.is_admin and not has_two_factor(user):
            raise Refusal(
                403,
                "forbidden",
                "Admins need two-factor authentication here.",
                hint="Sign in to the dashboard and set it up first.",
                code="two_factor_required",
            )
        return user


router = Router(tags=["Account"], auth=TokenAuth(reading=Scope.GLOBAL, writing=Scope.GLOBAL))
own_token = TokenAuth(for_one_app=True)  # seen by itself, and ended by itself if it may change anything


class AccessToken(Answer):
    expires_in: int | None
    id: UUID
    token: str


class AccessSdkToken(AccessToken):
    version: int


class OwnerAnswer(Answer):
    email: str
    full_name: str | None
    id: UUID


class AuthorizationAnswer(Answer):
    access_token: AccessSdkToken | AccessToken
    client: None
    created_at: Time
    description: str
    grant: None
    id: UUID
    refresh_token: None
    scope: list[str]
    session: None
    updated_at: Time
    user: OwnerAnswer


class SessionAnswer(Answer):
    created_at: Time
    description: str
    expires_in: int
    id: UUID
    updated_at: Time


def _number(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12 else value


Seconds = Annotated[int, BeforeValidator(_number), Field(ge=1, le=10 * 365 * 86400)]


class NewAuthorization(Body):
    description: str | None = Field(None, description="Where it is used.")
    expires_in: Seconds | None = Field(None, description="Seconds; for ever without.")
    scope: list[str] = Field([Scope.GLOBAL.value], description=f"Some of {', '.join(Scope.values)}.")
    app: str | None = Field(None, description="Good for this app alone; then not global.")


class AuthorizationChange(Body):
    description: str | None = None


@router.get("/oauth/authorizations", response=list[AuthorizationAnswer])
def list_authorizations(request: ApiRequest) -> list[AuthorizationAnswer]:
    """Secrets are kept nowhere: only the one that this request came with is shown, by which a client finds its own."""
    tokens = page(request, request.user.tokens.select_related("user"))
    return [_answer(request, token, secret_of(request) if token.pk == request.token.pk else "") for token in tokens]


@router.post("/oauth/authorizations", response={201: AuthorizationAnswer}, auth=SignIn(writing=Scope.GLOBAL))
def create_authorization(request: ApiRequest, body: NewAuthorization) -> AuthorizationAnswer:
    """The secret is shown here, and never again. With e-mail and password this is how a client signs in."""
    user = request.user
    app = get_app(user, body.app, Role.VIEWER) if body.app is not None else None
    token, secret = create_token(
        user,
        name=(body.description or "Made over the API")[:100],
        by=user,
        lifetime=timedelta(seconds=body.expires_in) if body.expires_in else None,
        scopes=[SCOPES.get(scope, scope) for scope in body.scope],
        app_id=app.pk if app else None,
        app_name=app.name if app else "",
    )
    return _answer(request, token, secret)


@router.get("/oauth/authorizations/~", response=AuthorizationAnswer, auth=own_token)
def own_authorization(request: ApiRequest) -> AuthorizationAnswer:
    """The one that this request came with. Without its secret: Heroku's command line takes a secret that it finds here
    for one that it must not revoke when somebody logs out."""
    return _answer(request, request.token)


@router.delete("/oauth/authorizations/~", response=AuthorizationAnswer, auth=own_token)
def delete_own_authorization(request: ApiRequest) -> AuthorizationAnswer:
    shown = _answer(request, request.token)
    revoke_token(request.token, by=request.user)
    return shown


@router.get("/oauth/authorizations/{identity}", response=AuthorizationAnswer)
def authorization_info(request: ApiRequest, identity: str) -> AuthorizationAnswer:
    return _answer(request, _find(request, identity))


@router.patch("/oauth/authorizations/{identity}", response=AuthorizationAnswer)
def update_authorization(request: ApiRequest, identity: str, body: AuthorizationChange) -> AuthorizationAnswer:
    token = _find(request, identity)
    if body.description is not None:
        rename_token(token, body.description, by=request.user)
    return _answer(request, token)


@router.delete("/oauth/authorizations/{identity}", response=AuthorizationAnswer)
def delete_authorization(request: ApiRequest, identity: str) -> AuthorizationAnswer:
    token = _find(request, identity)
    shown = _answer(request, token)
    revoke_token(token, by=request.user)
    return shown


@router.post("/oauth/authorizations/{identity}/actions/regenerate-tokens", response=AuthorizationAnswer)
def regenerate(request: ApiRequest, identity: str) -> AuthorizationAnswer:
    """Another secret; the one before is worthless at once."""
    token = _find(request, identity)
    return _answer(request, token, regenerate_token(token, by=request.user))


@router.get("/oauth/clients", response=list[str])
def list_clients(request: ApiRequest) -> list[str]:
    """There are none: no other service signs people in with this platform."""
    return []


@router.get("/oauth/sessions", response=list[SessionAnswer])
def list_sessions(request: ApiRequest) -> list[SessionAnswer]:
    """Browsers in which one is signed in to the dashboard."""
    return [_session_answer(session) for session in page(request, request.user.sessions.all())]


@router.delete("/oauth/sessions/{identity}", response=SessionAnswer)
def delete_session(request: ApiRequest, identity: str) -> SessionAnswer:
    """A request over the API is part of none, so there is no `~`."""
    session = request.user.sessions.filter(pk=uuid_of(identity)).first()
    if session is None:
        raise missing("session")
    shown = _session_answer(session)
    end_session(session, by=request.user)
    return shown


def _find(request: ApiRequest, identity: str) -> ApiToken:
    token = request.user.tokens.select_related("user").filter(pk=uuid_of(identity)).first()
    if token is None:
        raise missing("authorization")
    return token


def _answer(request: ApiRequest, token: ApiToken, secret: str = "") -> AuthorizationAnswer:
    left = max(0, round((token.expires_at - timezone.now()).total_seconds())) if token.expires_at else None
    shown = AccessToken(expires_in=left, id=token.pk, token=secret or f"{token.prefix}…")
    return AuthorizationAnswer(
        access_token=AccessSdkToken(**shown.model_dump(), version=1) if request.is_sdk else shown,
        client=None,
        created_at=token.created_at,
        description=token.name,
        grant=None,
        id=token.pk,
        refresh_token=None,
        scope=list(token.scopes),
        session=None,
        updated_at=token.updated_at,
        user=OwnerAnswer(email=token.user.email, full_name=token.user.name or None, id=token.user.pk),
    )


def _session_answer(session: Session) -> SessionAnswer:
    where = f" at {session.address}" if session.address else ""
    return SessionAnswer(
        created_at=session.created_at,
        description=f"{browser_in_words(session.user_agent)}{where}",
        expires_in=max(0, round((session.expires_at - timezone.now()).total_seconds())),
        id=session.pk,
        updated_at=session.seen_at,
    )
