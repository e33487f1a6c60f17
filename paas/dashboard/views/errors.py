"""What people see when something is not there, not allowed, or broken."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001  # Django names them
    return render(request, "dashboard/404.html", status=404)


def refused(request: HttpRequest, exception: Exception | None = None, reason: str = "") -> HttpResponse:  # noqa: ARG001
    """Also Django's answer to a form without its token; `reason` is for developers."""
    return render(request, "dashboard/403.html", {"is_stale_form": bool(reason)}, status=403)


def broken(request: HttpRequest) -> HttpResponse:
    """Asks the database for nothing, not even who is signed in: that may be what is broken."""
    context = {"request_id": request.META.get("paas.request_id", ""), "user": AnonymousUser(), "messages": ()}
    return render(request, "dashboard/500.html", context, status=500)


urlpatterns = ()
