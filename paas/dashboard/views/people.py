"""The people of an app, and for admins those of the platform."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from paas.accounts import services
from paas.accounts.models import User
from paas.accounts.selectors import (
    browser_in_words,
    check_admin,
    find_user,
    get_user,
    user_by_id,
    users_with_numbers,
)
from paas.apps.models import App, Role
from paas.apps.selectors import (
    app_invitation,
    get_app,
    get_collaborator,
    platform_invitation,
    platform_invitations,
    role_in,
)
from paas.apps.services import (
    add_collaborator,
    change_role,
    remove_collaborator,
    revoke_invitation,
    transfer_app,
)
from paas.dashboard.forms import refusals_shown
from paas.dashboard.once import show_once, take_once
from paas.dashboard.requests import current_user
from paas.hooks.services.mails import invite_by_mail
from runtime.errors import InvalidInput

ROLES = [(role.value, role.label) for role in Role]
WHAT_ROLES_MAY = (
    (Role.VIEWER, "Sees everything but the values of config vars."),
    (Role.OPERATOR, "Also changes config, ports, domains and scale; restarts, rolls back, reads logs and values."),
    (Role.DEVELOPER, "Also pushes code, and runs commands in the app."),
    (Role.OWNER, "Also decides who has access, hands the app over, and destroys it."),
)


# The people of an app


class ShareForm(forms.Form):
    email = forms.EmailField(
        label="E-mail",
        help_text="Of a user here, or of somebody new, who gets an invitation.",
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )
    role = forms.TypedChoiceField(choices=ROLES, coerce=lambda value: Role(int(value)), initial=Role.DEVELOPER)


@never_cache
@require_http_methods(["GET", "POST"])
@login_required
def access(request: HttpRequest, name: str) -> HttpResponse:
    """Everybody with a role sees the others; a POST by an owner gives somebody a role."""
    user, is_post = current_user(request), request.method == "POST"
    app = get_app(user, name, Role.OWNER if is_post else Role.VIEWER)
    form = ShareForm(request.POST if is_post else None)
    if form.is_valid():
        with refusals_shown(form, "email"):
            _share(request, app, form.cleaned_data["email"], form.cleaned_data["role"])
            return redirect("access", name=app.name)
    role = role_in(app, user)
    return render(
        request,
        "dashboard/people/app.html",
        {
            "app": app,
            "form": form,
            "roles": ROLES,
            "what_roles_may": [(role.label, text) for role, text in WHAT_ROLES_MAY],
            "collaborators": app.collaborators.select_related("user").order_by("-role", "user__email"),
            "invitations": app.invitations.select_related("invited_by"),
            "is_owner": role == Role.OWNER,
            "may_leave": app.owner_id != user.pk and app.collaborators.filter(user=user).exists(),
            "fresh": take_once(request, "invitation"),
        },
        status=422 if form.errors else 200,
    )


def _share(request: HttpRequest, app: App, email: str, role: Role) -> None:
    user = current_user(request)
    known = find_user(email)
    if known is not None:
        add_collaborator(app, known, role, by=user)
        messages.success(request, f"{known.email} is {role.label.lower()} of {app.name} now.")
        return
    invitation, secret, is_mailed = invite_by_mail(email=email, by=user, app=app, role=role)
    _show_link(request, invitation.email, secret, is_mailed=is_mailed)


@require_POST
@login_required
def update_access(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OWNER)
    row = get_collaborator(app, request.POST.get("email", ""))
    role = _role(request)
    change_role(row, role, by=user)
    messages.success(request, f"{row.user.email} is {role.label.lower()} of {app.name} now.")
    return redirect("access", name=app.name)


@require_POST
@login_required
def remove_access(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OWNER)
    row = get_collaborator(app, request.POST.get("email", ""))
    remove_collaborator(row, by=user)
    messages.success(request, f"{row.user.email} has no access to {app.name} any more.")
    return redirect("access", name=app.name) if row.user_id != user.pk else redirect("apps")


@require_POST
@login_required
def leave(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name)
    remove_collaborator(get_collaborator(app, user.email), by=user)
    messages.success(request, f"You have left {app.name}.")
    return redirect("apps")


@require_POST
@login_required
def transfer(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OWNER)
    if request.POST.get("confirm", "") != app.name:
        raise InvalidInput("The name you typed is not the app's.", hint=f"Type {app.name} to hand it over.")
    to = get_user(request.POST.get("email", ""))
    transfer_app(app, to, by=user)
    messages.success(request, f"{to.email} owns {app.name} now.")
    return redirect("access", name=app.name)


@require_POST
@login_required
def revoke_app_invitation(request: HttpRequest, name: str, invitation_id: UUID) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OWNER)
    invitation = app_invitation(app, invitation_id)
    revoke_invitation(invitation, by=user)
    messages.success(request, f"The invitation of {invitation.email} is void.")
    return redirect("access", name=app.name)


def _role(request: HttpRequest) -> Role:
    try:
        return Role(int(request.POST.get("role", "")))
    except ValueError as exc:
        raise InvalidInput("That is no role.", hint="Choose one of the list.") from exc


def _show_link(request: HttpRequest, email: str, secret: str, *, is_mailed: bool) -> None:
    url = request.build_absolute_uri(reverse("invitation", args=[secret]))
    show_once(request, "invitation", {"email": email, "url": url, "is_mailed": is_mailed})


# The people of the platform


class InviteForm(forms.Form):
    email = forms.EmailField(label="E-mail", widget=forms.EmailInput(attrs={"autocomplete": "off"}))
    is_admin = forms.BooleanField(required=False, label="Make them an admin, who may see and do everything")


@never_cache
@require_http_methods(["GET", "POST"])
@login_required
def people(request: HttpRequest) -> HttpResponse:
    user = current_user(request)
    check_admin(user)
    form = InviteForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        with refusals_shown(form, "email"):
            invitation, secret, is_mailed = invite_by_mail(
                email=form.cleaned_data["email"], by=user, is_admin=form.cleaned_data["is_admin"]
            )
            _show_link(request, invitation.email, secret, is_mailed=is_mailed)
            return redirect("people")
    context = {
        "form": form,
        "people": users_with_numbers(),
        "invitations": platform_invitations(),
        "fresh": take_once(request, "invitation"),
    }
    return render(request, "dashboard/people/list.html", context, status=422 if form.errors else 200)


@require_POST
@login_required
def revoke_platform_invitation(request: HttpRequest, invitation_id: UUID) -> HttpResponse:
    user = current_user(request)
    check_admin(user)
    invitation = platform_invitation(invitation_id)
    revoke_invitation(invitation, by=user)
    messages.success(request, f"The invitation of {invitation.email} is void.")
    return redirect("people")


@require_GET
@login_required
def person(request: HttpRequest, user_id: UUID) -> HttpResponse:
    check_admin(current_user(request))
    found = user_by_id(user_id)
    shared = found.collaborations.filter(app__destroyed_at__isnull=True).select_related("app")
    apps = [(app.name, Role.OWNER.label) for app in found.apps.filter(destroyed_at__isnull=True)]
    last = found.sessions.first()
    context = {
        "person": found,
        "apps": [*apps, *((row.app.name, Role(row.role).label) for row in shared)],
        "session_count": found.sessions.count(),
        "token_count": found.tokens.count(),
        "key_count": found.ssh_keys.count(),
        "has_two_factor": hasattr(found, "two_factor") and found.two_factor.confirmed_at is not None,
        "last_session": last,
        "last_browser": browser_in_words(last.user_agent) if last else "",
        "is_you": found.pk == current_user(request).pk,
    }
    return render(request, "dashboard/people/person.html", context)


@require_POST
@login_required
def change_person(request: HttpRequest, user_id: UUID, change: str) -> HttpResponse:
    user = current_user(request)
    check_admin(user)
    found = user_by_id(user_id)
    what, done = CHANGES[change]
    what(found, user)
    messages.success(request, f"{found.email} {done}.")
    return redirect("person", user_id=found.pk)


CHANGES: dict[str, tuple[Callable[[User, User], None], str]] = {
    "make-admin": (lambda who, by: services.set_admin(who, True, by=by), "is an admin now"),
    "no-admin": (lambda who, by: services.set_admin(who, False, by=by), "is no admin any more"),
    "allow-apps": (lambda who, by: services.allow_creating_apps(who, True, by=by), "may create apps"),
    "forbid-apps": (lambda who, by: services.allow_creating_apps(who, False, by=by), "may create no more apps"),
    "deactivate": (
        lambda who, by: services.deactivate_user(who, by=by),
        "is deactivated; sessions and tokens have ended",
    ),
    "activate": (lambda who, by: services.activate_user(who, by=by), "may sign in again"),
    "two-factor-off": (
        lambda who, by: services.reset_two_factor(who, by=by),
        "signs in with the password alone until they set a second step up again",
    ),
}


urlpatterns = [
    path("apps/<str:name>/people", access, name="access"),
    path("apps/<str:name>/people/update", update_access, name="update-access"),
    path("apps/<str:name>/people/remove", remove_access, name="remove-access"),
    path("apps/<str:name>/people/leave", leave, name="leave"),
    path("apps/<str:name>/people/transfer", transfer, name="transfer"),
    path(
        "apps/<str:name>/people/invitations/<uuid:invitation_id>/revoke", revoke_app_invitation,
        name="revoke-app-invitation",
    ),
    path("people", people, name="people"),
    path("people/invitations/<uuid:invitation_id>/revoke", revoke_platform_invitation, name="revoke-invitation"),
    path("people/<uuid:user_id>", person, name="person"),
    *(
        path(f"people/<uuid:user_id>/{change}", change_person, {"change": change}, name=change)
        for change in CHANGES
    ),
]  # fmt: skip
