"""Builds, what they said and are saying, and stopping one."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_GET, require_POST

from paas.apps.models import Role
from paas.apps.selectors import get_app, git_url
from paas.builds import log
from paas.builds.models import Build, BuildStatus
from paas.builds.selectors import get_build
from paas.builds.services import cancel_build
from paas.dashboard.requests import access_to, current_user

ON_A_PAGE = 30
MOST_LINES = 3000
STEPS = (("received", "received"), ("built", "built"), ("released", "released"), ("live", "live after"))


@require_GET
@login_required
def build_list(request: HttpRequest, name: str) -> HttpResponse:
    app = get_app(current_user(request), name)
    builds = Paginator(app.builds.select_related("release", "created_by"), ON_A_PAGE)
    page = builds.get_page(request.GET.get("page"))
    return render(
        request, "dashboard/builds.html", {"app": app, "page": page, "push": f"git push {git_url(app.name)} main"}
    )


@require_GET
@login_required
def build(request: HttpRequest, name: str, number: int) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name)
    found = get_build(app, number)
    lines, count = log.tail(found.pk, MOST_LINES)
    stream = "" if found.is_finished else f"/streams/apps/{app.name}/builds/{found.number}?after={count}"
    return render(
        request,
        "dashboard/build.html",
        {
            "app": app,
            "access": access_to(app, user),
            "build": found,
            "lines": lines,
            "left_out": count - len(lines),
            "stream": stream,
            **_outcome(found),
        },
    )


def _outcome(build: Build) -> dict[str, Any]:
    return {
        "has_failed": build.status == BuildStatus.FAILED,
        "is_cancelling": not build.is_finished and build.cancel_requested_at is not None,
        "steps": [(label, build.seconds[key]) for key, label in STEPS if key in build.seconds],
    }


@require_GET
@login_required
def build_log(request: HttpRequest, name: str, number: int) -> StreamingHttpResponse:
    """All of it, as text."""
    found = get_build(get_app(current_user(request), name), number)
    lines = (f"{line}\n" for line in log.read(found.pk))
    return StreamingHttpResponse(lines, content_type="text/plain; charset=utf-8")


@require_POST
@login_required
def cancel(request: HttpRequest, name: str, number: int) -> HttpResponse:
    user = current_user(request)
    found = get_build(get_app(user, name, Role.OPERATOR), number)
    cancel_build(found, by=user)
    messages.success(request, f"Build {found.number} is being stopped. What runs stays as it is.")
    return redirect("build", name=name, number=found.number)


urlpatterns = [
    path("apps/<str:name>/builds", build_list, name="builds"),
    path("apps/<str:name>/builds/<int:number>", build, name="build"),
    path("apps/<str:name>/builds/<int:number>/log", build_log, name="build-log"),
    path("apps/<str:name>/builds/<int:number>/cancel", cancel, name="build-cancel"),
]
