"""What an app said: filtered, a page at a time, live, or as a file."""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import path
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_POST

from paas.apps.models import App, Role
from paas.apps.selectors import get_app
from paas.dashboard.requests import access_to, current_user, log_fields
from paas.formation.selectors import formation
from paas.logs.selectors import app_log, log_filter
from paas.logs.services import record_download
from runtime.errors import InvalidInput
from runtime.logs.read import Filter, Page
from runtime.logs.record import Line, Position, Source

LINES = 200
FIELDS = ("source", "process", "release", "since", "until", "q", "regex")
SPANS = (("15m", "15 minutes"), ("1h", "hour"), ("1d", "day"), ("7d", "7 days"))


@require_GET
@login_required
def logs(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name)
    reader = app_log(app)
    end, before = reader.end(), Position.parse(request.GET.get("before", ""))
    problem, page = "", Page((), None)
    try:
        wanted = log_filter(app, user, **log_fields(request.GET))
        page = reader.newest(wanted, LINES, before=before or end)
    except InvalidInput as exc:
        problem = str(exc)
    given = {field: value for field in FIELDS if (value := request.GET.get(field, "").strip())}
    query = urlencode(given)
    is_live = not (problem or before or given.get("until"))
    context = {
        "app": app,
        "lines": page.lines,
        "older": page.older,
        "is_older": before is not None,
        "given": given,
        "query": f"{query}&" if query else "",
        "sources": list(Source),
        "spans": SPANS,
        "is_other_span": "since" in given and given["since"] not in dict(SPANS),
        "processes": _processes(app),
        "stream": f"/streams/apps/{app.name}/logs?{urlencode({**given, 'after': str(end)})}" if is_live else "",
        "problem": problem,
        "access": access_to(app, user),
        "fields": FIELDS,
    }
    return render(request, "dashboard/logs.html", context, status=422 if problem else 200)


@require_POST
@login_required
def download(request: HttpRequest, name: str) -> StreamingHttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR)
    wanted = log_filter(app, user, **log_fields(request.POST))
    record_download(app, by=user, filter={field: value for field in FIELDS if (value := request.POST.get(field, ""))})
    response = StreamingHttpResponse(_texts(app, wanted), content_type="text/plain; charset=utf-8")
    moment = f"{timezone.now():%Y%m%d-%H%M%S}"
    response["Content-Disposition"] = f'attachment; filename="{app.name}-{moment}.log"'
    return response


def _texts(app: App, wanted: Filter) -> Iterator[str]:
    lines: list[Line] = []
    for line in app_log(app).everything(wanted):
        lines.append(line)
        if len(lines) == 1000:
            yield "".join(f"{each.stamp} {each.label}: {each.plain}\n" for each in lines)
            lines.clear()
    yield "".join(f"{each.stamp} {each.label}: {each.plain}\n" for each in lines)


def _processes(app: App) -> list[str]:
    """To choose from; anything else may be typed: an instance that is gone, a run."""
    types = [process.process for process in formation(app)]
    return [*types, *(str(instance) for instance in app.instances.all())]


urlpatterns = [
    path("apps/<str:name>/logs", logs, name="logs"),
    path("apps/<str:name>/logs/download", download, name="logs-download"),
]
