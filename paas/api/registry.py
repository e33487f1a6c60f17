"""The registry's door: tokens for `docker login`, `push` and `pull`, and manifests for who sends a password each time.

Everything else of the distribution protocol goes from the router to the registry itself, which wants a token from here.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import structlog
from django.contrib.auth import authenticate
from django.http import HttpRequest, HttpResponse, JsonResponse

from paas.accounts import throttle
from paas.accounts.models import ApiToken, User
from paas.accounts.services import active_token, record_failed_sign_in
from paas.accounts.services.tokens import TOKEN_PREFIX
from paas.accounts.services.two_factor import has_two_factor
from paas.accounts.throttle import TooManyAttempts
from paas.api.auth import basic_credentials
from paas.apps.models import Role
from paas.builds.pushed import RegistryBusy, app_of, grants
from paas.core import audit
from paas.core.events import moment
from paas.core.middleware import client_address, request_id_of
from paas.wiring import registry, registry_host, registry_tokens
from runtime.errors import Failure, Forbidden, InvalidInput, ManifestUnknown, NotFound, UserError
from runtime.images.values import INDEXES
from runtime.registry.names import SERVICE, TOKEN_USER
from runtime.registry.tokens import LIFETIME_SECONDS, Access

log = structlog.get_logger()
MANIFEST = re.compile(r"/v2/(?P<repository>[a-z0-9/_-]{1,200})/manifests/(?P<reference>[A-Za-z0-9_.:-]{1,128})")
MOST_SCOPES = 50  # one for each repository that a client knows to have layers
LONGEST_PASSWORD = 1024


class Unauthorized(UserError):
    id = "unauthorized"


# The protocol's own codes, statuses.
ANSWERS: tuple[tuple[type[Exception], int, str], ...] = (
    (Unauthorized, 401, "UNAUTHORIZED"),
    (TooManyAttempts, 429, "TOOMANYREQUESTS"),
    (RegistryBusy, 503, "UNAVAILABLE"),
    (ManifestUnknown, 404, "MANIFEST_UNKNOWN"),
    (NotFound, 404, "NAME_UNKNOWN"),
    (Forbidden, 403, "DENIED"),
    (InvalidInput, 400, "UNSUPPORTED"),
    (UserError, 400, "UNSUPPORTED"),
)


def answer(request: HttpRequest) -> HttpResponse:
    request_id = request_id_of(request.META)
    with audit.through("registry", request_id, client_address(request.META)):
        try:
            response = _respond(request)
        except Exception as exc:  # noqa: BLE001  # the edge
            response = _refused(exc, request_id)
    response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"
    response.headers.setdefault("X-Request-Id", request_id)
    response.headers["Cache-Control"] = "no-store"
    return response


def _respond(request: HttpRequest) -> HttpResponse:
    from django.conf import settings

    if request.path == "/v2/token":
        if settings.ENV.external_registry:
            raise _elsewhere()
        return _token(request) if request.method == "GET" else HttpResponse(status=405, headers={"Allow": "GET"})
    if request.method not in {"GET", "HEAD"}:
        if settings.ENV.external_registry:
            raise _elsewhere()
        raise InvalidInput("With a password only manifests can be read.", hint="Use a client that asks for a token.")
    if request.path in {"/v2", "/v2/"}:
        _sign_in(request)
        return JsonResponse({})
    match = MANIFEST.fullmatch(request.path)
    if match is None:
        raise (
            _elsewhere() if settings.ENV.external_registry else NotFound("There is nothing here. Images are below /v2/.")
        )
    user, token = _sign_in(request)
    app_of(match["repository"], by=user, role=Role.VIEWER, token=token)
    return _manifest(request, match["repository"], match["reference"])


def _token(request: HttpRequest) -> HttpResponse:
    """https://distribution.github.io/distribution/spec/auth/token/"""
    asked = [Access.parse(part) for scope in request.GET.getlist("scope") for part in scope.split()]
    if len(asked) > MOST_SCOPES:
        raise InvalidInput("That is too much for one token.")
    user_name, password = _credentials(request)
    if user_name == TOKEN_USER:
        return _exchange(password, asked)
    user, token = _sign_in(request)
    found = grants(asked, by=user, token=token)
    if len(found) == 1 and (reason := found[0].refusal) is not None:
        raise reason  # in words; of several, the registry itself refuses what there is no access for
    allowed = [each.access for each in found if each.access.actions]
    return _answer_with(registry_tokens().issue(str(user), allowed))


def _exchange(password: str, asked: list[Access]) -> HttpResponse:
    """The engine has a token of ours in place of a password: it is good for what it is good for."""
    known = registry_tokens().access_of(password)
    if known is None:
        raise Unauthorized("That token is none of ours, or too old.")
    held = {(each.kind, each.name, action) for each in known for action in each.actions}
    allowed = [
        Access(each.kind, each.name, tuple(a for a in each.actions if (each.kind, each.name, a) in held))
        for each in asked
    ]
    return _answer_with(registry_tokens().issue(SERVICE, [each for each in allowed if each.actions]))


def _answer_with(token: str) -> HttpResponse:
    now = moment(datetime.now(UTC))
    return JsonResponse({"token": token, "access_token": token, "expires_in": LIFETIME_SECONDS, "issued_at": now})


def _manifest(request: HttpRequest, repository: str, reference: str) -> HttpResponse:
    """An index only for who can read one; others get this machine's image of it."""
    content, media_type = registry().get_manifest(repository, reference)
    if media_type in INDEXES and not any(kind in request.headers.get("Accept", "") for kind in INDEXES):
        image = registry().get_image(repository, reference)
        content, media_type = image.manifest, image.media_type
    digest = registry().head_manifest(repository, reference) or ""
    return HttpResponse(content, content_type=media_type, headers={"Docker-Content-Digest": digest})


# Who it is


def _credentials(request: HttpRequest) -> tuple[str, str]:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return basic_credentials(value) if scheme.lower() == "basic" else ("", "")


def _sign_in(request: HttpRequest) -> tuple[User, ApiToken | None]:
    """With any name and a token as the password, or with e-mail and password. Raises `Unauthorized` or
    `TooManyAttempts`."""
    name, password = _credentials(request)
    address = client_address(request.META)
    if not password:
        raise Unauthorized("Sign in first.", hint=f"docker login {request.get_host()}")
    if password.startswith(TOKEN_PREFIX):
        throttle.check(token_address=address)
        token = active_token(password, address=address)
        if token is None:
            throttle.attempt(token_address=address)
            raise Unauthorized("That token is none of ours, or not valid any more.", hint="paas tokens:create makes one.")
        return token.user, token
    return _sign_in_by_password(request, name.replace("\0", "").strip()[:254], password, address), None


def _sign_in_by_password(request: HttpRequest, email: str, password: str, address: str) -> User:
    throttle.attempt(account=email, address=address)
    user = authenticate(request, username=email, password=password[:LONGEST_PASSWORD])
    if not isinstance(user, User):
        record_failed_sign_in(email if "@" in email else "")
        raise Unauthorized(
            "That e-mail and password don't match.",
            hint="A token does as the password too: paas tokens:create makes one.",
        )
    throttle.forgive(account=email, address=address)
    if has_two_factor(user) or _needs_second_step(user):
        raise Unauthorized(
            "A password alone is not enough for this account.", hint="Use a token as the password: paas tokens:create"
        )
    return user


def _needs_second_step(user: User) -> bool:
    from django.conf import settings

    return bool(user.is_admin and settings.ENV.admins_need_two_factor)


def _elsewhere() -> UserError:
    return InvalidInput(
        f"This platform keeps its images in another registry, {registry_host()}.",
        hint="Push them there.",
        id="no_registry",
    )


def _refused(failure: Exception, request_id: str) -> HttpResponse:
    """As clients of the protocol show it: code and message of the first error."""
    status, code = next(((s, c) for kind, s, c in ANSWERS if isinstance(failure, kind)), (500, "UNKNOWN"))
    if status == 500 or not isinstance(failure, Failure):
        log.error("registry_door_broke", exc_info=failure)
        message = f"The platform made a mistake; it is logged under {request_id}."
    else:
        message = " ".join(filter(None, (failure.message, failure.hint)))
    response = JsonResponse({"errors": [{"code": code, "message": message, "detail": None}]}, status=status)
    if status == 401:
        response.headers["WWW-Authenticate"] = (
            'Basic realm="paas: an e-mail and its password, or a token as the password"'
        )
    if status in {429, 503}:
        response.headers["Retry-After"] = "30"
    return response
