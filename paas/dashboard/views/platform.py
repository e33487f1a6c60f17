"""Addresses for the platform itself and for those who work on its pages."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_GET

from paas.accounts.models import User
from paas.dashboard import patterns as examples
from paas.dashboard.requests import current_user


@require_GET
@login_required
def patterns(request: HttpRequest) -> HttpResponse:
    """Every component in every state, and the three pages that set the manner; for admins."""
    if not current_user(request).is_admin:
        raise Http404
    return render(request, "dashboard/patterns.html", examples.context())


def health(_request: HttpRequest) -> JsonResponse:
    """For the router and `bin/up`: the process answers and the database does."""
    User.objects.exists()
    return JsonResponse({"status": "ok"})


@require_GET
def root_certificate(_request: HttpRequest) -> HttpResponse:
    """For everybody: a client has to trust it before it can sign in."""
    try:
        content = settings.ENV.ca_file.read_bytes()
    except FileNotFoundError:
        raise Http404 from None
    return HttpResponse(
        content,
        content_type="application/x-pem-file",
        headers={"Content-Disposition": 'attachment; filename="ca.pem"'},
    )


urlpatterns = [
    path("ca.pem", root_certificate, name="root_certificate"),
    path("-/health", health, name="health"),
    path("-/patterns", patterns, name="patterns"),
]
