"""Find the thing the caller may see, validate, call one service, present the result."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from paas.accounts.models import User
from paas.apps.selectors import apps_visible_to, get_app, git_url, url
from paas.builds.selectors import build_output, get_build
from paas.formation.selectors import formation
from paas.releases.selectors import current_release, get_release
from paas.releases.services import roll_back as roll_back_to


class SignIn(LoginView):
    template_name = "dashboard/login.html"
    authentication_form = AuthenticationForm
    redirect_authenticated_user = True


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


@require_GET
@login_required
def app_list(request: HttpRequest) -> HttpResponse:
    apps = apps_visible_to(_user(request)).select_related("current_release").prefetch_related("instances")
    rows = [{"app": app, "url": url(app), "instances": list(app.instances.all())} for app in apps]
    return render(request, "dashboard/apps.html", {"rows": rows, "remote": git_url("my-app")})


@require_GET
@login_required
def app_overview(request: HttpRequest, name: str) -> HttpResponse:
    app = get_app(_user(request), name)
    current = current_release(app)
    return render(
        request,
        "dashboard/app.html",
        {
            "app": app,
            "url": url(app),
            "remote": git_url(app.name),
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
    app = get_app(_user(request), name)
    target = get_release(app, request.POST.get("version", ""))
    release = roll_back_to(app, target, by=_user(request))
    messages.success(request, f"Rolling back to v{target.version}: v{release.version} is being released.")
    return redirect("app", name=app.name)


@require_GET
@login_required
def build_log(request: HttpRequest, name: str, number: int) -> HttpResponse:
    app = get_app(_user(request), name)
    build = get_build(app, number)
    lines = list(build_output(build)) if build.is_finished else []
    return render(request, "dashboard/build.html", {"app": app, "build": build, "lines": lines})


def health(_request: HttpRequest) -> JsonResponse:
    """For the router and `bin/up`: the process answers and the database does."""
    User.objects.exists()
    return JsonResponse({"status": "ok"})


def not_found(request: HttpRequest, _exception: Exception) -> HttpResponse:
    return render(request, "dashboard/404.html", status=404)


def broken(request: HttpRequest) -> HttpResponse:
    return render(request, "dashboard/500.html", {"request_id": request.META.get("paas.request_id", "")}, status=500)
