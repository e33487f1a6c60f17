"""The list of apps and the overview of one."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_GET, require_POST

from paas.apps.selectors import apps_visible_to, get_app, git_url, url
from paas.dashboard.requests import current_user
from paas.formation.selectors import formation
from paas.releases.selectors import current_release, get_release
from paas.releases.services import roll_back as roll_back_to


@require_GET
@login_required
def app_list(request: HttpRequest) -> HttpResponse:
    apps = apps_visible_to(current_user(request)).select_related("current_release").prefetch_related("instances")
    rows = [{"app": app, "url": url(app), "instances": list(app.instances.all())} for app in apps]
    return render(
        request,
        "dashboard/apps.html",
        {"rows": rows, "first_push": f"git remote add paas {git_url('my-app')}\ngit push paas main"},
    )


@require_GET
@login_required
def overview(request: HttpRequest, name: str) -> HttpResponse:
    app = get_app(current_user(request), name)
    current = current_release(app)
    return render(
        request,
        "dashboard/app.html",
        {
            "app": app,
            "first_push": f"git push {git_url(app.name)} main",
            "current": current,
            "config_names": sorted(current.config) if current else [],
            "processes": formation(app),
            "instances": app.instances.all(),
            "releases": app.releases.select_related("created_by", "image")[:20],
            "builds": app.builds.select_related("release")[:10],
        },
    )


@require_POST
@login_required
def roll_back(request: HttpRequest, name: str) -> HttpResponse:
    app = get_app(current_user(request), name)
    target = get_release(app, request.POST.get("version", ""))
    release = roll_back_to(app, target, by=current_user(request))
    messages.success(request, f"Rolling back to v{target.version}: v{release.version} is being released.")
    return redirect("app", name=app.name)


urlpatterns = [
    path("", app_list, name="apps"),
    path("apps/<str:name>", overview, name="app"),
    path("apps/<str:name>/rollback", roll_back, name="rollback"),
]
