"""Signing in, with a second step where there is one; signing out; accepting an invitation."""

from __future__ import annotations

import time
from uuid import UUID

import structlog
from django import forms
from django.contrib import messages
from django.contrib.auth import login, logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.urls import path
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from paas.accounts import throttle
from paas.accounts.models import User
from paas.accounts.services import end_session, record_sign_in
from paas.accounts.services.sign_in import (
    WrongCode,
    WrongCredentials,
    check_second_step,
    cleaned_email,
    user_by_password,
)
from paas.accounts.services.two_factor import has_two_factor
from paas.accounts.sessions import LIFETIME, SessionStore
from paas.accounts.throttle import TooManyAttempts
from paas.apps.models import Role
from paas.apps.selectors import get_invitation
from paas.apps.services import accept_invitation
from paas.core.middleware import client_address
from paas.dashboard.forms import PASSWORD_HELP, refusals_shown
from paas.hooks.services.mails import ask_for_password, set_password_by_link, user_of_link
from paas.hooks.services.notices import mail_is_on
from runtime.errors import NotFound

log = structlog.get_logger()
PENDING = "second_step"
PENDING_SECONDS = 600
BACKEND = "django.contrib.auth.backends.ModelBackend"


@never_cache
@require_http_methods(["GET", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    target = _target(request)
    if request.user.is_authenticated:
        return redirect(target)
    if request.method == "GET":
        return _sign_in_page(request, target)
    email, address = cleaned_email(request.POST.get("username", "")), client_address(request.META)
    try:
        user = user_by_password(email, request.POST.get("password", ""), address=address)
    except TooManyAttempts as exc:
        log.warning("sign_in_throttled", address=address)
        return _sign_in_page(request, target, email=email, problem=exc.message, hint=exc.hint, status=429)
    except WrongCredentials as exc:
        hint = "Try again, or have a link mailed to you." if mail_is_on() else exc.hint
        return _sign_in_page(request, target, email=email, problem=exc.message, hint=hint, status=422)
    if has_two_factor(user):
        request.session.cycle_key()
        request.session[PENDING] = {
            "user": str(user.pk), "at": time.time(), "target": target, "hash": user.get_session_auth_hash(),
        }  # fmt: skip
        return redirect("second-step")
    _enter(request, user)
    return redirect(target)


@never_cache
@require_http_methods(["GET", "POST"])
def second_step(request: HttpRequest) -> HttpResponse:
    user = _pending_user(request)
    if user is None:
        messages.error(request, "That took too long. Sign in again.")
        return redirect("login")
    if request.method == "GET":
        return render(request, "dashboard/second_step.html")
    address = client_address(request.META)
    try:
        kind = check_second_step(user, request.POST.get("code", ""), address=address)
    except (TooManyAttempts, WrongCode) as exc:
        status = 422
        if isinstance(exc, TooManyAttempts):
            log.warning("sign_in_throttled", address=address)
            status = 429
        return render(
            request, "dashboard/second_step.html", {"problem": exc.message, "hint": exc.hint}, status=status
        )  # fmt: skip
    target = request.session.pop(PENDING)["target"]
    _enter(request, user, second_step=kind)
    if kind == "recovery code":
        left = user.recovery_codes.count()
        messages.warning(request, f"You used a recovery code; {left} are left. Make new ones in your account.")
    return redirect(target)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    if isinstance(request.user, User) and isinstance(request.session, SessionStore) and request.session.row:
        end_session(request.session.row, by=request.user)
    logout(request)
    return redirect("login")


class PasswordForm(forms.Form):
    password = forms.CharField(
        strip=False,
        help_text=PASSWORD_HELP,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    repeated = forms.CharField(
        strip=False, label="Password again", widget=forms.PasswordInput(attrs={"autocomplete": "new-password"})
    )

    def clean(self) -> None:
        if self.cleaned_data.get("password") != self.cleaned_data.get("repeated"):
            self.add_error("repeated", "This is another password than the one above.")


class InvitationForm(PasswordForm):
    name = forms.CharField(max_length=100, label="Your name", widget=forms.TextInput(attrs={"autocomplete": "name"}))
    field_order = ("name", "password", "repeated")


class ForgottenForm(forms.Form):
    email = forms.EmailField(label="E-mail", widget=forms.EmailInput(attrs={"autocomplete": "username"}))


@never_cache
@require_http_methods(["GET", "POST"])
def forgotten(request: HttpRequest) -> HttpResponse:
    """Whether there is such a user, nobody learns here."""
    if not mail_is_on():
        raise NotFound("This platform sends no mail.", hint="Ask an admin for a new password.", id="mail_off")
    form = ForgottenForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return render(request, "dashboard/password.html", {"form": form}, status=422 if form.errors else 200)
    email = form.cleaned_data["email"]
    try:
        throttle.attempt(account=f"password of {email.lower()}", address=client_address(request.META))
    except TooManyAttempts as exc:
        form.add_error(None, str(exc))
        return render(request, "dashboard/password.html", {"form": form}, status=429)
    ask_for_password(email)
    return render(request, "dashboard/password.html", {"asked": email})


@never_cache
@require_http_methods(["GET", "POST"])
def new_password(request: HttpRequest, user_id: UUID, token: str) -> HttpResponse:
    """By a link that was mailed. Whoever has it still needs their second factor to sign in."""
    try:
        user = user_of_link(user_id, token)
    except NotFound as exc:
        return render(request, "dashboard/password.html", {"failure": exc}, status=404)
    form = PasswordForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        with refusals_shown(form, "password"):
            set_password_by_link(user_id, token, form.cleaned_data["password"])
            messages.success(request, "The password is set. Sign in with it.")
            return redirect("login")
    context = {"form": form, "of": user.email}
    return render(request, "dashboard/password.html", context, status=422 if form.errors else 200)


@never_cache
@require_http_methods(["GET", "POST"])
def invitation(request: HttpRequest, secret: str) -> HttpResponse:
    """For somebody new. Whoever is signed in is told to sign out first."""
    try:
        invited = get_invitation(secret)
    except NotFound as exc:
        return render(request, "dashboard/invitation.html", {"failure": exc}, status=404)
    form = InvitationForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and not request.user.is_authenticated and form.is_valid():
        with refusals_shown(form, "password"):
            user = accept_invitation(secret, name=form.cleaned_data["name"], password=form.cleaned_data["password"])
            _enter(request, user)
            messages.success(request, "Welcome. You are signed in.")
            return redirect("apps")
    context = {"invitation": invited, "role": Role(invited.role).label if invited.role else "", "form": form}
    return render(request, "dashboard/invitation.html", context, status=422 if form.errors else 200)


def _sign_in_page(
    request: HttpRequest, target: str, *, email: str = "", problem: str = "", hint: str = "", status: int = 200
) -> HttpResponse:
    context = {"email": email, "next": target, "problem": problem, "hint": hint, "mail": mail_is_on()}
    return render(request, "dashboard/login.html", context, status=status)


def _enter(request: HttpRequest, user: User, *, second_step: str = "") -> None:
    login(request, user, backend=BACKEND)
    request.session.set_expiry(timezone.now() + LIFETIME)
    record_sign_in(
        user,
        session_key=request.session.session_key or "",
        address=client_address(request.META),
        user_agent=request.headers.get("User-Agent", ""),
        second_step=second_step,
    )


def _pending_user(request: HttpRequest) -> User | None:
    """Who has shown a password lately that still is theirs."""
    pending = request.session.get(PENDING)
    if not pending or time.time() - pending["at"] > PENDING_SECONDS:
        return None
    user = User.objects.filter(pk=pending["user"], is_active=True).first()
    if user is None or not constant_time_compare(pending["hash"], user.get_session_auth_hash()):
        return None
    return user


def _target(request: HttpRequest) -> str:
    """Where people wanted to go: a page of ours, or the list of apps."""
    wanted = request.POST.get("next") or request.GET.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if is_ours else resolve_url("apps")


urlpatterns = [
    path("login", sign_in, name="login"),
    path("login/code", second_step, name="second-step"),
    path("logout", sign_out, name="logout"),
    path("password", forgotten, name="password-forgotten"),
    path("password/<uuid:user_id>/<str:token>", new_password, name="password-new"),
    path("invitations/<str:secret>", invitation, name="invitation"),
]
