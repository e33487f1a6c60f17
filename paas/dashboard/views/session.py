"""Signing in and out."""

from __future__ import annotations

from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path


class SignIn(LoginView):
    template_name = "dashboard/login.html"
    authentication_form = AuthenticationForm
    redirect_authenticated_user = True


urlpatterns = [
    path("login", SignIn.as_view(), name="login"),
    path("logout", LogoutView.as_view(), name="logout"),
]
