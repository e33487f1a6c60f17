"""Confirm that a program which wants to sign in is one's own."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from paas.accounts.services.browser_login import TOKEN_LIFETIME, approve_login, deny_login, pending_login
from paas.dashboard.requests import current_user


@never_cache
@require_http_methods(["GET", "POST"])
@login_required
def confirm(request: HttpRequest, code: str) -> HttpResponse:
    user, row = current_user(request), pending_login(code)
    if request.method == "POST":
        if request.POST.get("answer") == "approve":
            approve_login(row, by=user)
            return redirect("login-confirmed")
        deny_login(row, by=user)
        return redirect("login-denied")
    return render(request, "dashboard/program_login.html", {"login": row, "days": TOKEN_LIFETIME.days})


@require_GET
@login_required
def confirmed(request: HttpRequest) -> HttpResponse:
    return render(request, "dashboard/program_login_done.html", {"is_confirmed": True})


@require_GET
@login_required
def denied(request: HttpRequest) -> HttpResponse:
    return render(request, "dashboard/program_login_done.html", {"is_confirmed": False})


urlpatterns = [
    path("login/confirmed", confirmed, name="login-confirmed"),
    path("login/denied", denied, name="login-denied"),
    path("login/programs/<str:code>", confirm, name="confirm-login"),
]
