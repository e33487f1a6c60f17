"""An app's settings that belong nowhere else: its deploy branch, its name, its end."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_GET, require_POST

from paas.apps.models import App, Role
from paas.apps.selectors import get_app, git_url
from paas.apps.services import destroy_app, rename_app, set_deploy_branch
from paas.dashboard.forms import BranchForm, RenameForm, refusals_shown
from paas.dashboard.requests import access_to, current_user
from runtime.errors import InvalidInput


@require_GET
@login_required
def settings(request: HttpRequest, name: str) -> HttpResponse:
    return _page(request, get_app(current_user(request), name))


def _page(
    request: HttpRequest,
    app: App,
    *,
    branch: BranchForm | None = None,
    name: RenameForm | None = None,
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    context = {
        "app": app,
        "access": access_to(app, current_user(request)),
        "form": branch or BranchForm(initial={"deploy_branch": app.deploy_branch}),
        "name_form": name or RenameForm(initial={"name": app.name}),
        "error": error,
    }
    return render(request, "dashboard/settings.html", context, status=status)


@require_POST
@login_required
def deploy_branch(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR)
    form = BranchForm(request.POST)
    if form.is_valid():
        try:
            set_deploy_branch(app, form.cleaned_data["deploy_branch"], by=user)
        except InvalidInput as exc:
            form.add_error("deploy_branch", str(exc))
        else:
            messages.success(request, f"Pushes to {app.deploy_branch} are deployed now.")
            return redirect("settings", name=app.name)
    return _page(request, app, branch=form, status=422)


@require_POST
@login_required
def rename(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OWNER)
    form = RenameForm(request.POST)
    if form.is_valid():
        wanted = form.cleaned_data["name"]
        with refusals_shown(form, "name"):
            if rename_app(app, wanted, by=user):
                messages.success(request, f"{app.name} is {wanted} now. Remotes need the new name: {git_url(wanted)}")
            return redirect("settings", name=wanted)
    return _page(request, app, name=form, status=422)


@require_POST
@login_required
def destroy(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OWNER)
    if (typed := request.POST.get("confirm", "")) != app.name:
        return _page(request, app, error=f"“{typed}” is not “{app.name}”. Nothing was destroyed.", status=422)
    destroy_app(app, by=user)
    messages.success(request, f"{app.name} is being removed, with everything it had.")
    return redirect("apps")


urlpatterns = [
    path("apps/<str:name>/settings", settings, name="settings"),
    path("apps/<str:name>/settings/branch", deploy_branch, name="settings-branch"),
    path("apps/<str:name>/settings/rename", rename, name="settings-rename"),
    path("apps/<str:name>/settings/destroy", destroy, name="settings-destroy"),
]
