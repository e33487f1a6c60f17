"""The machine and the platform itself, for admins."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from paas.convergence.cleanup import last_cleanup
from paas.dashboard.charts import chart_data, machine_charts
from paas.dashboard.requests import current_user, window_of
from paas.machine import selectors
from paas.machine.doors import ssh_fingerprint
from paas.machine.measure import measured
from paas.machine.processes import platform_processes
from paas.machine.services import cleanup_state, request_cleanup, request_measure
from paas.metrics.selectors import WINDOWS, machine_metrics

KINDS = {
    "registry": "Images in the registry",
    "engine": "Images in the engine",
    "cache": "Build caches and stacks",
    "repositories": "Repositories",
    "builds": "Logs of builds and releases",
    "logs": "Logs of apps and the platform",
    "database": "Database",
    "redis": "Queue and live logs",
}
MOST_APPS = 50


def for_admins(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """For others there is no such page."""

    @login_required
    @wraps(view)
    def wrapped(request: HttpRequest) -> HttpResponse:
        if not current_user(request).is_admin:
            raise Http404
        return view(request)

    return wrapped


@require_GET
@for_admins
def host(request: HttpRequest) -> HttpResponse:
    window = window_of(request)
    found = machine_metrics(window)
    parts = selectors.parts()
    storage = measured()
    kinds = [(KINDS.get(kind, kind), size) for kind, size in storage.kinds.items()] if storage else []
    processes = platform_processes()
    context = {
        "window": window,
        "windows": WINDOWS.values(),
        "charts": machine_charts(found),
        "machine": found,
        "parts": parts,
        "problems": [part for part in parts if part.problem],
        "processes": processes,
        "processes_bytes": sum(each.memory_bytes for each in processes),
        "engine": selectors.engine_state(),
        "queues": selectors.queues(),
        "late_seconds": selectors.LATE_SECONDS,
        "builds": selectors.running_builds(),
        "sweep": selectors.last_sweep(),
        "certificates": selectors.certificates(),
        "ssh_url": settings.ENV.ssh_url,
        "ssh_fingerprint": ssh_fingerprint(settings.ENV),
        "storage": storage,
        "measured_at": storage.moment if storage else None,
        "kinds": sorted(kinds, key=lambda kind: -kind[1]),
        "apps": storage.apps[:MOST_APPS] if storage else [],
        "cleanup": last_cleanup(),
        "cleaning": cleanup_state(),
    }
    return render(request, "dashboard/host.html", context)


@require_GET
@never_cache
@for_admins
def host_data(request: HttpRequest) -> HttpResponse:
    found = machine_metrics(window_of(request))
    return JsonResponse(chart_data(found.times, found.window.spacing, machine_charts(found), ()))


@require_POST
@for_admins
def measure(request: HttpRequest) -> HttpResponse:
    request_measure()
    messages.info(request, "The disk is being measured. Load this page again in a moment.")
    return redirect("host")


@require_POST
@for_admins
def clean_up(request: HttpRequest) -> HttpResponse:
    if request_cleanup(by=current_user(request)):
        messages.success(request, "The cleanup has been started. What it freed will be told here.")
    else:
        messages.info(request, "A cleanup is at work already.")
    return redirect("host")


urlpatterns = [
    path("host", host, name="host"),
    path("host/metrics.json", host_data, name="host_data"),
    path("host/measure", measure, name="host_measure"),
    path("host/cleanup", clean_up, name="host_cleanup"),
]
