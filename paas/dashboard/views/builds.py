"""Builds and what they said."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_GET

from paas.apps.selectors import get_app
from paas.builds.selectors import build_output, get_build
from paas.dashboard.requests import current_user


@require_GET
@login_required
def build(request: HttpRequest, name: str, number: int) -> HttpResponse:
    app = get_app(current_user(request), name)
    found = get_build(app, number)
    lines = list(build_output(found)) if found.is_finished else []
    return render(request, "dashboard/build.html", {"app": app, "build": found, "lines": lines})


urlpatterns = [
    path("apps/<str:name>/builds/<int:number>", build, name="build"),
]
