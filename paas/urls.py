"""Addresses of the pages."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("", include("paas.dashboard.urls"))]
handler404 = "paas.dashboard.views.not_found"
handler500 = "paas.dashboard.views.broken"
