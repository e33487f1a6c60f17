"""How many instances of each process type, how big, and how well; restart, stop, start, maintenance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_GET, require_POST

from paas.apps.models import App, Role
from paas.apps.selectors import get_app, maintenance_page
from paas.apps.services import check_page, set_maintenance, set_maintenance_page, start_app, stop_app
from paas.convergence.models import Instance
from paas.convergence.selectors import state_of
from paas.convergence.spec import EffectiveHealth, effective_health
from paas.dashboard.requests import access_to, current_user
from paas.formation.checks import DEFAULTS, LEAST_SHARES, MOST_SHARES, SECONDS
from paas.formation.selectors import DEFAULT_CPU_SHARES, Process, formation
from paas.formation.services import MAX_QUANTITY, health_text, restart, scale, set_health, set_limits
from paas.formation.sizes import memory_text, parse_memory
from paas.metrics.selectors import Latest, latest_usage
from paas.releases.models import Release
from paas.releases.selectors import wished_release
from paas.wiring import machine_memory
from runtime.errors import InvalidInput, UserError
from runtime.reconcile.spec import CheckKind
from runtime.router.document import MAX_PAGE_BYTES

KINDS = {
    CheckKind.HTTP: "It answers a path",
    CheckKind.TCP: "It takes connections",
    CheckKind.UPTIME: "It stays up",
    CheckKind.IMAGE: "The image's own check says so",
}
SOURCES = {
    "people": "set here",
    "code": "from the app's code",
    "image": "from the image",
    "default": "the platform's default",
}


@dataclass(frozen=True, slots=True)
class Card:
    """A process type with what its forms hold: what was typed, where that was refused."""

    process: Process
    up: int
    memory: str  # as a form shows it
    has_own_limits: bool
    health: EffectiveHealth
    health_words: str
    health_source: str
    kinds: tuple[tuple[str, str], ...]
    fields: dict[str, Any]  # of the health check
    limits_error: str = ""
    health_error: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """An instance with what it used last."""

    instance: Instance
    usage: Latest | None
    share: int | None  # of its memory limit, in percent


@require_GET
@login_required
def scale_page(request: HttpRequest, name: str) -> HttpResponse:
    return _page(request, get_app(current_user(request), name))


def _page(
    request: HttpRequest,
    app: App,
    *,
    refused: tuple[str, str, str] = ("", "", ""),  # form, process type, why
    typed_page: str | None = None,
    status: int = 200,
) -> HttpResponse:
    release = wished_release(app)
    processes = formation(app, release)
    instances = list(app.instances.all())
    own_page = maintenance_page(app)
    context = {
        "app": app,
        "access": access_to(app, current_user(request)),
        "state": state_of(app, instances),
        "cards": [_card(request, release, each, instances, refused) for each in processes if release],
        "rows": _rows(app, instances, processes),
        "most": MAX_QUANTITY,
        "machine": memory_text(machine_memory()),
        "least_shares": LEAST_SHARES,
        "most_shares": MOST_SHARES,
        "default_shares": DEFAULT_CPU_SHARES,
        "seconds": SECONDS,
        "defaults": DEFAULTS,
        "own_page": own_page,
        "typed_page": own_page if typed_page is None else typed_page,
        "page_limit": MAX_PAGE_BYTES // 1024,
        "page_error": refused[2] if refused[0] == "page" else "",
    }
    return render(request, "dashboard/scale.html", context, status=status)


def _card(
    request: HttpRequest, release: Release, process: Process, instances: list[Instance], refused: tuple[str, str, str]
) -> Card:
    form, where, why = refused
    is_mine = where == process.process
    health = effective_health(release, process.process)
    fields = {name: health.values.get(name, "") for name in ("kind", "path", "port", *SECONDS)}
    memory = memory_text(process.memory_bytes)
    if is_mine and form == "health":
        fields = {name: request.POST.get(name, "") for name in fields}
    if is_mine and form == "limits":
        memory = request.POST.get("memory", "")
    has_check = release.image is not None and release.image.has_health_check
    kinds = tuple((kind.value, text) for kind, text in KINDS.items() if kind is not CheckKind.IMAGE or has_check)
    return Card(
        process=process,
        up=sum(each.process == process.process and each.state == "up" for each in instances),
        memory=memory,
        has_own_limits=process.process in release.limits,
        health=health,
        health_words=health_text(health.values),
        health_source=SOURCES[health.source],
        kinds=kinds,
        fields=fields,
        limits_error=why if is_mine and form == "limits" else "",
        health_error=why if is_mine and form == "health" else "",
    )


def _rows(app: App, instances: list[Instance], processes: list[Process]) -> list[Row]:
    usage = latest_usage(app)
    limits = {each.process: each.memory_bytes for each in processes}
    rows = []
    for instance in instances:
        seen, limit = usage.get(str(instance)), limits.get(instance.process, 0)
        rows.append(Row(instance, seen, round(100 * seen.memory_bytes / limit) if seen and limit else None))
    return rows


@require_POST
@login_required
def scale_processes(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR)
    wanted = {}
    for process in formation(app):
        text = request.POST.get(f"quantity-{process.process}", "").strip()
        if not text:
            continue
        if not (text.isascii() and text.isdigit() and len(text) < 6):
            raise InvalidInput(
                f"{text[:20]!r} is no number of instances.", hint=f"Choose 0 to {MAX_QUANTITY}.", id="invalid_quantity"
            )
        wanted[process.process] = int(text)
    if scale(app, wanted, by=user):
        messages.success(request, "Scaling: new instances get visitors when they are healthy.")
    else:
        messages.info(request, "Nothing changes: it is scaled so already.")
    return redirect("scale", name=app.name)


@require_POST
@login_required
def limits(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR)
    process = request.POST.get("process", "")
    try:
        if "default" in request.POST:
            change: dict[str, int | None] = {"memory_bytes": None, "cpu_shares": None}
        else:
            shares = request.POST.get("cpu_shares", "").strip()
            if not (shares.isascii() and shares.isdigit() and len(shares) < 9):
                raise InvalidInput(f"{shares[:20]!r} is no number of CPU shares.", hint=f"Choose {LEAST_SHARES} or more.")
            change = {"memory_bytes": parse_memory(request.POST.get("memory", "")), "cpu_shares": int(shares)}
        release = set_limits(app, {process: change}, by=user)
    except UserError as exc:
        return _page(request, app, refused=("limits", process, str(exc)), status=422)
    return _told(request, app, release)


@require_POST
@login_required
def health(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR)
    process = request.POST.get("process", "")
    given = None if "default" in request.POST else request.POST.dict()
    try:
        release = set_health(app, process, given, by=user)
    except UserError as exc:
        return _page(request, app, refused=("health", process, str(exc)), status=422)
    return _told(request, app, release)


def _told(request: HttpRequest, app: App, release: Release | None) -> HttpResponse:
    if release is None:
        messages.info(request, "Nothing changes: it is so already.")
    else:
        messages.success(request, f"Saved: v{release.version} is being released. {release.description}.")
    return redirect("scale", name=app.name)


@require_POST
@login_required
def restart_instances(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR)
    target = request.POST.get("target", "")
    restart(app, by=user, target=target)
    messages.success(request, f"Restarting {target or 'every instance'}: new ones take over before the old ones go.")
    return redirect("scale", name=app.name)


@require_POST
@login_required
def stop(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR)
    if stop_app(app, by=user):
        messages.success(request, f"{app.name} is being stopped. It stays stopped until you start it.")
    return redirect("scale", name=app.name)


@require_POST
@login_required
def start(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR)
    if start_app(app, by=user):
        messages.success(request, f"{app.name} is being started, as it was scaled.")
    return redirect("scale", name=app.name)


@require_POST
@login_required
def maintenance(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR)
    is_on = request.POST.get("on") == "1"
    set_maintenance(app, is_on, by=user)
    messages.success(request, "Visitors see the maintenance page now." if is_on else "Visitors get in again.")
    return redirect("scale", name=app.name)


@require_POST
@login_required
def own_page(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR)
    text = "" if "default" in request.POST else request.POST.get("html", "").replace("\r\n", "\n")
    file = request.FILES.get("file")
    try:
        if isinstance(file, UploadedFile) and file.name:
            text = _uploaded(file)
        set_maintenance_page(app, text, by=user)
    except UserError as exc:
        return _page(request, app, refused=("page", "", str(exc)), typed_page=text, status=422)
    messages.success(request, "Saved. Visitors see it whenever maintenance mode is on.")
    return redirect("scale", name=app.name)


def _uploaded(file: UploadedFile[bytes]) -> str:
    """Raises `InvalidInput`. No more of it is read than a page may have."""
    content: bytes = file.read(MAX_PAGE_BYTES + 1)
    try:
        text = content.decode()
    except UnicodeDecodeError as exc:
        if len(content) <= MAX_PAGE_BYTES:
            raise InvalidInput("The file is not UTF-8 text.", hint="Give one HTML file.", id="invalid_page") from exc
        text = content.decode(errors="replace")
    check_page(text)
    return text


urlpatterns = [
    path("apps/<str:name>/scale", scale_page, name="scale"),
    path("apps/<str:name>/scale/quantities", scale_processes, name="scale_processes"),
    path("apps/<str:name>/scale/limits", limits, name="scale_limits"),
    path("apps/<str:name>/scale/health", health, name="scale_health"),
    path("apps/<str:name>/scale/restart", restart_instances, name="scale_restart"),
    path("apps/<str:name>/scale/stop", stop, name="scale_stop"),
    path("apps/<str:name>/scale/start", start, name="scale_start"),
    path("apps/<str:name>/scale/maintenance", maintenance, name="scale_maintenance"),
    path("apps/<str:name>/scale/page", own_page, name="scale_own_page"),
]
