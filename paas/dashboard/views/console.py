"""Commands run by hand: start one, watch it, stop it, see who ran what."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from paas.apps.models import Role
from paas.apps.selectors import get_app
from paas.dashboard.forms import RunForm, refusals_shown
from paas.dashboard.requests import access_to, current_user
from paas.logs.selectors import app_log, log_filter
from paas.releases.selectors import current_release
from paas.runs.selectors import get_run, runs_of
from paas.runs.services import start_run, stop_run

PAGE = 25
LINES = 2000


@require_http_methods(["GET", "POST"])
@login_required
def console(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.DEVELOPER if request.method == "POST" else Role.OPERATOR)
    form = RunForm(request.POST or None, initial={"command": request.GET.get("command", "")})
    if request.method == "POST" and form.is_valid():
        with refusals_shown(form, "command"):
            run = start_run(app, form.cleaned_data["command"], by=user)
            return redirect("console-run", name=app.name, number=run.number)
    page = Paginator(runs_of(app), PAGE).get_page(request.GET.get("page"))
    context = {
        "app": app,
        "form": form,
        "page": page,
        "example": f"paas run -a {app.name} bash",
        "current": current_release(app),
        "access": access_to(app, user),
    }
    return render(request, "dashboard/console.html", context, status=422 if form.errors else 200)


@require_GET
@login_required
def run(request: HttpRequest, name: str, number: int) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR)
    found = get_run(app, number)
    reader = app_log(app)
    end = reader.end()
    page = reader.newest(log_filter(app, user, process=str(found)), LINES, before=end)
    context = {
        "app": app,
        "run": found,
        "lines": page.lines,
        "has_more": page.older is not None,
        "stream": "" if found.is_finished else f"/streams/apps/{app.name}/runs/{found.number}?after={end}",
        "access": access_to(app, user),
    }
    return render(request, "dashboard/run.html", context)


@require_POST
@login_required
def stop(request: HttpRequest, name: str, number: int) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.DEVELOPER)
    found = get_run(app, number)
    stop_run(found, by=user)
    messages.success(request, f"Run {found.number} is being stopped.")
    return redirect("console-run", name=app.name, number=found.number)


urlpatterns = [
    path("apps/<str:name>/console", console, name="console"),
    path("apps/<str:name>/console/<int:number>", run, name="console-run"),
    path("apps/<str:name>/console/<int:number>/stop", stop, name="console-stop"),
]
