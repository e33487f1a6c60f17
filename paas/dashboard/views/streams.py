"""Grants for the streams process: what `/streams/X` is made of is told at `/-/streams/X`, to those who may see it.

It asks again every few seconds, and whenever the app has changed, with the cookie that the browser sent.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from uuid import UUID

from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.http import require_GET

from paas.accounts.models import User
from paas.accounts.services.browser_login import collect_login
from paas.apps.models import Role
from paas.apps.selectors import apps_visible_to, get_app
from paas.builds.models import Build
from paas.builds.output import open_output
from paas.builds.selectors import get_build
from paas.dashboard.requests import log_fields
from paas.logs.selectors import log_filter
from paas.logs.sessions import session_grant
from paas.releases.models import Release
from paas.releases.selectors import get_release
from paas.runs.selectors import get_run
from runtime.errors import Forbidden


def _grant(view: Callable[..., dict[str, object]]) -> Callable[..., JsonResponse]:
    """A stream is no page to be redirected from."""

    @require_GET
    @wraps(view)
    def granted(request: HttpRequest, **names: str | int) -> JsonResponse:
        if not isinstance(request.user, User):
            return JsonResponse({}, status=401)
        return JsonResponse(view(request.user, **names))

    return granted


def _log(of: Build | Release, release: Release | None) -> dict[str, object]:
    outcome = {
        "status": of.status,
        "release": release.version if release else None,
        "reason": of.reason,
        "hint": of.hint,
    }
    return {
        "kind": "file",
        "file": str(of.pk),
        "app": str(of.app_id),
        "outcome": outcome if of.is_finished else None,
    }


@_grant
def build(user: User, name: str, number: int) -> dict[str, object]:
    found = get_build(get_app(user, name), number)
    return _log(found, found.release)


@_grant
def release(user: User, name: str, version: int) -> dict[str, object]:
    """A release that a build has made is told about in the build's log."""
    found = get_release(get_app(user, name), version)
    maker = found.builds.order_by("number").first()
    return _log(maker or found, found)


@require_GET
def app_log(request: HttpRequest, name: str) -> JsonResponse:
    """Asked with the fields of the form on the page of logs."""
    if not isinstance(request.user, User):
        return JsonResponse({}, status=401)
    app = get_app(request.user, name)
    wanted = log_filter(app, request.user, **log_fields(request.GET))
    return JsonResponse({"kind": "logs", "app": str(app.pk), "filter": wanted.dump()})


@_grant
def run(user: User, name: str, number: int) -> dict[str, object]:
    app = get_app(user, name, Role.OPERATOR)
    found = get_run(app, number)
    outcome = {"status": found.status, "exit_code": found.exit_code, "reason": found.reason}
    wanted = log_filter(app, user, process=str(found))
    return {
        "kind": "logs",
        "app": str(app.pk),
        "filter": wanted.dump(),
        "outcome": outcome if found.is_finished else None,
    }


@_grant
def changes_of_app(user: User, name: str) -> dict[str, object]:
    app = get_app(user, name)
    return {"kind": "changes", "apps": [str(app.pk)]}


@_grant
def changes(user: User) -> dict[str, object]:
    """Of all apps that the user sees; for an admin that is every one, also those to come."""
    if user.is_admin:
        return {"kind": "changes", "apps": None}
    return {"kind": "changes", "apps": [str(pk) for pk in apps_visible_to(user).values_list("pk", flat=True)]}


# Addresses that the API gave away: whoever has one has been let in there, and has no cookie.


@require_GET
def log_session(_: HttpRequest, secret: str) -> JsonResponse:
    return JsonResponse(session_grant(secret))


@require_GET
def output(_: HttpRequest, signed: str) -> JsonResponse:
    found = open_output(signed)
    maker = found.builds.order_by("number").first() if isinstance(found, Release) else None
    return JsonResponse({**_log(maker or found, None), "kind": "output"})


@require_GET
def login(request: HttpRequest, login_id: UUID) -> JsonResponse:
    """Whether somebody has confirmed a program's login; for the program itself, which has a secret and no session."""
    secret = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    if not secret:
        return JsonResponse({}, status=401)
    try:
        token = collect_login(login_id, secret)
    except Forbidden as exc:
        return JsonResponse({"error": exc.message})
    return JsonResponse({"state": "pending"} if token is None else {"access_token": token})


urlpatterns = [
    path("-/streams/log-sessions/<str:secret>", log_session),
    path("-/streams/output/<str:signed>", output),
    path("-/streams/logins/<uuid:login_id>", login),
    path("-/streams/changes", changes),
    path("-/streams/apps/<str:name>/logs", app_log),
    path("-/streams/apps/<str:name>/runs/<int:number>", run),
    path("-/streams/apps/<str:name>/changes", changes_of_app),
    path("-/streams/apps/<str:name>/builds/<int:number>", build),
    path("-/streams/apps/<str:name>/releases/<int:version>", release),
]
