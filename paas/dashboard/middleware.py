"""Turns our failures into pages. HTTP statuses of failures live here, and for the API in `paas.api.errors`."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme

from paas.accounts.models import User
from paas.accounts.services.two_factor import has_two_factor
from runtime.errors import Conflict, Failure, Forbidden, NotFound, UserError

log = structlog.get_logger()
STATUS: tuple[tuple[type[Failure], int], ...] = (
    (NotFound, 404), (Forbidden, 403), (Conflict, 409), (UserError, 422), (Failure, 500),
)  # fmt: skip


def status_of(failure: Failure) -> int:
    return next(status for kind, status in STATUS if isinstance(failure, kind))


class SecondStepMiddleware:
    """Where admins need two-factor authentication, one without it gets to no page but the one that sets it up."""

    OPEN = ("/account/two-factor", "/logout")

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = request.user if settings.ENV.admins_need_two_factor else None
        if not isinstance(user, User) or not user.is_admin or request.path.startswith(self.OPEN) or has_two_factor(user):
            return self.get_response(request)
        if request.path == "/":
            messages.warning(request, "Admins need two-factor authentication here. Set it up to go on.")
        return redirect("two-factor")


class FailureMiddleware:
    """A form that could not be done brings people back to where they came from, with the reason on top; a view that
    wants its fields to keep what was typed catches the failure itself. Everything else gets a page of its own."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, Failure):
            return None
        status = status_of(exception)
        if status == 500:
            log.error("request_failed", error=exception.id, exc_info=exception)
        back = _where_from(request)
        if request.method == "POST" and status in {409, 422} and back:
            messages.error(request, f"{exception.message}\n{exception.hint}".strip())
            return redirect(back)
        context = {"failure": exception, "status": status, "request_id": request.META.get("paas.request_id", "")}
        return render(request, "dashboard/failure.html", context, status=status)


def _where_from(request: HttpRequest) -> str:
    """The page of ours that held the form, as a path."""
    referer = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(referer, allowed_hosts={request.get_host()}):
        return ""
    parts = urlsplit(referer)
    return parts.path + (f"?{parts.query}" if parts.query else "")
