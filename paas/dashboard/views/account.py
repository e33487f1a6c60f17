"""One's own account: profile, password, sessions, tokens, SSH keys, two-factor authentication."""

from __future__ import annotations

import io
from datetime import timedelta
from uuid import UUID

import segno
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from paas.accounts import services, throttle
from paas.accounts.models import Scope, User
from paas.accounts.selectors import browser_in_words, get_key, get_session, get_token, is_session, two_factor_of
from paas.accounts.services.two_factor import provisioning_uri
from paas.apps.models import App
from paas.apps.selectors import apps_visible_to, git_ssh_url, git_url
from paas.core.middleware import client_address
from paas.dashboard.forms import PASSWORD_HELP, refusals_shown
from paas.dashboard.once import show_once, take_once
from paas.dashboard.requests import current_user

LIFETIMES = (("7", "7 days"), ("30", "30 days"), ("90", "90 days"), ("365", "a year"), ("0", "for ever"))


# Profile and password


class PasswordForm(forms.Form):
    current = forms.CharField(
        strip=False,
        label="Present password",
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
    new = forms.CharField(
        strip=False,
        label="New password",
        help_text=PASSWORD_HELP,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    repeated = forms.CharField(
        strip=False, label="New password again", widget=forms.PasswordInput(attrs={"autocomplete": "new-password"})
    )

    def clean(self) -> None:
        if self.cleaned_data.get("new") != self.cleaned_data.get("repeated"):
            self.add_error("repeated", "This is another password than the one above.")


@require_GET
@login_required
def profile(request: HttpRequest) -> HttpResponse:
    return _profile_page(request, PasswordForm())


@require_POST
@login_required
def rename(request: HttpRequest) -> HttpResponse:
    user = current_user(request)
    services.rename_user(user, request.POST.get("name", ""), by=user)
    messages.success(request, "Your name is saved.")
    return redirect("account")


@require_POST
@login_required
def password(request: HttpRequest) -> HttpResponse:
    user, form = current_user(request), PasswordForm(request.POST)
    if form.is_valid():
        with refusals_shown(form):
            throttle.attempt(account=f"password of {user.pk}")
            services.change_password(
                user,
                current=form.cleaned_data["current"],
                new=form.cleaned_data["new"],
                keep_session=request.session.session_key or "",
            )
            throttle.forgive(account=f"password of {user.pk}")
            update_session_auth_hash(request, user)
            messages.success(request, "Your password is changed. All your other sessions have ended.")
            return redirect("account")
    return _profile_page(request, form, status=422)


def _profile_page(request: HttpRequest, form: PasswordForm, *, status: int = 200) -> HttpResponse:
    return render(request, "dashboard/account/profile.html", {"form": form}, status=status)


# Sessions


@require_GET
@login_required
def sessions(request: HttpRequest) -> HttpResponse:
    key = request.session.session_key or ""
    rows = [
        {"session": row, "browser": browser_in_words(row.user_agent), "is_this": is_session(row, key)}
        for row in current_user(request).sessions.all()
    ]
    return render(request, "dashboard/account/sessions.html", {"rows": rows})


@require_POST
@login_required
def end_session(request: HttpRequest, session_id: UUID) -> HttpResponse:
    user = current_user(request)
    services.end_session(get_session(user, session_id), by=user)
    messages.success(request, "That session has ended.")
    return redirect("sessions")


@require_POST
@login_required
def end_other_sessions(request: HttpRequest) -> HttpResponse:
    user = current_user(request)
    ended = services.end_other_sessions(user, keep=request.session.session_key or "", by=user)
    messages.success(request, f"{ended} other session{'' if ended == 1 else 's'} ended.")
    return redirect("sessions")


# Tokens


class TokenForm(forms.Form):
    name = forms.CharField(
        max_length=100,
        help_text="Where you use it: laptop, ci.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    scope = forms.ChoiceField(choices=[(scope.value, scope.label) for scope in Scope], initial=Scope.GIT)
    app = forms.ModelChoiceField(
        queryset=App.objects.none(),
        to_field_name="name",
        required=False,
        empty_label="All that you may access",
        label="Good for",
        help_text="A token for a single app can't do more if it is lost.",
    )
    days = forms.ChoiceField(choices=LIFETIMES, initial="90", label="Valid for")

    def __init__(self, user: User, data: object = None) -> None:
        super().__init__(data)  # type: ignore[arg-type]  # what request.POST is
        self.fields["app"].queryset = apps_visible_to(user)  # type: ignore[attr-defined]  # a ModelChoiceField


@never_cache
@require_http_methods(["GET", "POST"])
@login_required
def tokens(request: HttpRequest) -> HttpResponse:
    user = current_user(request)
    form = TokenForm(user, request.POST if request.method == "POST" else None)
    if form.is_valid():
        given = form.cleaned_data
        with refusals_shown(form):
            token, secret = services.create_token(
                user,
                name=given["name"],
                by=user,
                lifetime=timedelta(days=int(given["days"])) if given["days"] != "0" else None,
                scopes=[given["scope"]],
                app_id=given["app"].pk if given["app"] else None,
                app_name=given["app"].name if given["app"] else "",
            )
            show_once(request, "token", {"name": token.name, "secret": secret})
            return redirect("tokens")
    context = {
        "form": form,
        "fresh": take_once(request, "token"),
        "tokens": user.tokens.select_related("app"),
        "remote": git_url("my-app"),
        "api_url": settings.ENV.api_url,
    }
    return render(request, "dashboard/account/tokens.html", context, status=422 if form.errors else 200)


@require_POST
@login_required
def revoke_token(request: HttpRequest, token_id: UUID) -> HttpResponse:
    user = current_user(request)
    token = get_token(user, token_id)
    services.revoke_token(token, by=user)
    messages.success(request, f"The token {token.name} is revoked. Nothing gets in with it any more.")
    return redirect("tokens")


# SSH keys


class KeyForm(forms.Form):
    key = forms.CharField(
        label="Public key",
        max_length=20_000,
        help_text="The whole line of a file that ends in .pub, such as ~/.ssh/id_ed25519.pub.",
        widget=forms.Textarea(attrs={"rows": 4, "autocomplete": "off", "spellcheck": "false"}),
    )
    name = forms.CharField(
        max_length=100,
        required=False,
        help_text="The comment of the key when left out.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


@require_http_methods(["GET", "POST"])
@login_required
def keys(request: HttpRequest) -> HttpResponse:
    user = current_user(request)
    form = KeyForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        with refusals_shown(form, "key"):
            key = services.add_key(user, text=form.cleaned_data["key"], name=form.cleaned_data["name"], by=user)
            messages.success(request, f"{key.name} is added: {key.fingerprint}")
            return redirect("keys")
    context = {"form": form, "keys": user.ssh_keys.all(), "remote": _ssh_remote()}
    return render(request, "dashboard/account/keys.html", context, status=422 if form.errors else 200)


def _ssh_remote() -> str:
    address = git_ssh_url("my-app")
    return f"git remote add paas {address}\ngit push paas main" if address else ""


@require_POST
@login_required
def remove_key(request: HttpRequest, key_id: UUID) -> HttpResponse:
    user = current_user(request)
    key = get_key(user, key_id)
    services.remove_key(key, by=user)
    messages.success(request, f"The key {key.name} is removed.")
    return redirect("keys")


# Two-factor authentication


@never_cache
@require_GET
@login_required
def two_factor(request: HttpRequest) -> HttpResponse:
    user = current_user(request)
    row = two_factor_of(user)
    context = {
        "two_factor": row,
        "codes": "\n".join(take_once(request, "recovery codes") or ()),
        "codes_left": user.recovery_codes.count(),
    }
    return render(request, "dashboard/account/two_factor.html", context)


@require_POST
@login_required
def begin_two_factor(request: HttpRequest) -> HttpResponse:
    user = current_user(request)
    services.begin_two_factor(user, by=user)
    return redirect("two-factor")


@never_cache
@require_GET
@login_required
def qr_code(request: HttpRequest) -> HttpResponse:
    """Of a secret that does not count yet: afterwards nobody needs to see it again."""
    row = two_factor_of(current_user(request))
    if row is None or row.confirmed_at:
        raise Http404
    out = io.BytesIO()
    issuer = f"paas {settings.ENV.domain}"
    segno.make(provisioning_uri(row, issuer), error="m").save(out, kind="svg", scale=4, border=4, light="white")
    return HttpResponse(out.getvalue(), content_type="image/svg+xml")


@require_POST
@login_required
def confirm_two_factor(request: HttpRequest) -> HttpResponse:
    user = current_user(request)
    throttle.attempt(account=f"proof of {user.pk}")
    codes = services.confirm_two_factor(user, request.POST.get("code", "")[:100])
    throttle.forgive(account=f"proof of {user.pk}")
    show_once(request, "recovery codes", codes)
    messages.success(request, "From now on you are asked for a code when you sign in.")
    return redirect("two-factor")


@require_POST
@login_required
def renew_recovery_codes(request: HttpRequest) -> HttpResponse:
    user = current_user(request)
    throttle.attempt(account=f"proof of {user.pk}", address=client_address(request.META))
    codes = services.renew_recovery_codes(user, proof=request.POST.get("proof", "")[:1001])
    throttle.forgive(account=f"proof of {user.pk}", address=client_address(request.META))
    show_once(request, "recovery codes", codes)
    return redirect("two-factor")


@require_POST
@login_required
def disable_two_factor(request: HttpRequest) -> HttpResponse:
    user = current_user(request)
    throttle.attempt(account=f"proof of {user.pk}", address=client_address(request.META))
    services.disable_two_factor(user, proof=request.POST.get("proof", "")[:1001])
    throttle.forgive(account=f"proof of {user.pk}", address=client_address(request.META))
    messages.success(request, "You sign in with your password alone now.")
    return redirect("two-factor")


urlpatterns = [
    path("account", profile, name="account"),
    path("account/name", rename, name="rename"),
    path("account/password", password, name="password"),
    path("account/sessions", sessions, name="sessions"),
    path("account/sessions/end-others", end_other_sessions, name="end-other-sessions"),
    path("account/sessions/<uuid:session_id>/end", end_session, name="end-session"),
    path("account/tokens", tokens, name="tokens"),
    path("account/tokens/<uuid:token_id>/revoke", revoke_token, name="revoke-token"),
    path("account/keys", keys, name="keys"),
    path("account/keys/<uuid:key_id>/remove", remove_key, name="remove-key"),
    path("account/two-factor", two_factor, name="two-factor"),
    path("account/two-factor/begin", begin_two_factor, name="begin-two-factor"),
    path("account/two-factor/code.svg", qr_code, name="two-factor-qr"),
    path("account/two-factor/confirm", confirm_two_factor, name="confirm-two-factor"),
    path("account/two-factor/recovery-codes", renew_recovery_codes, name="renew-recovery-codes"),
    path("account/two-factor/off", disable_two_factor, name="disable-two-factor"),
]
