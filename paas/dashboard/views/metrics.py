"""What an app used and was asked, over time."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from paas.apps.selectors import get_app
from paas.dashboard.charts import app_charts, chart_data
from paas.dashboard.requests import current_user, window_of
from paas.formation.selectors import formation
from paas.metrics.selectors import WINDOWS, app_metrics


@require_GET
@login_required
def metrics(request: HttpRequest, name: str) -> HttpResponse:
    app = get_app(current_user(request), name)
    window = window_of(request)
    found = app_metrics(app, window)
    charts = app_charts(found, formation(app))
    context = {
        "app": app,
        "window": window,
        "windows": WINDOWS.values(),
        "charts": charts,
        "has_data": any(chart.has_data for chart in charts),
        "markers": found.markers,
    }
    return render(request, "dashboard/metrics.html", context)


@require_GET
@never_cache
@login_required
def metrics_data(request: HttpRequest, name: str) -> JsonResponse:
    app = get_app(current_user(request), name)
    found = app_metrics(app, window_of(request))
    charts = app_charts(found, formation(app))
    markers = [(marker.at, marker.text) for marker in found.markers]
    return JsonResponse(chart_data(found.times, found.window.spacing, charts, markers))


urlpatterns = [
    path("apps/<str:name>/metrics", metrics, name="metrics"),
    path("apps/<str:name>/metrics.json", metrics_data, name="metrics_data"),
]
