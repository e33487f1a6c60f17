"""Turns our failures into pages. HTTP statuses of failures live here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from runtime.errors import Conflict, Failure, Forbidden, NotFound, UserError

log = structlog.get_logger()
STATUS: tuple[tuple[type[Failure], int], ...] = (
    (NotFound, 404), (Forbidden, 403), (Conflict, 409), (UserError, 422), (Failure, 500),
)  # fmt: skip


def status_of(failure: Failure) -> int:
    return next(status for kind, status in STATUS if isinstance(failure, kind))


class FailureMiddleware:
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
        return render(request, "dashboard/failure.html", {"failure": exception, "status": status}, status=status)
