"""Addresses of the pages."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("", include("paas.dashboard.urls"))]
handler403 = "paas.dashboard.views.errors.refused"
handler404 = "paas.dashboard.views.errors.not_found"
handler500 = "paas.dashboard.views.errors.broken"
