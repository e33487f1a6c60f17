"""The list of apps, a new one, and the overview of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Exists, OuterRef, Prefetch
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.views.decorators.http import require_GET, require_http_methods

from paas.apps.models import App
from paas.apps.selectors import apps_visible_to, get_app, git_ssh_url, git_url
from paas.apps.services import create_app
from paas.builds.models import ACTIVE, Build, BuildStatus
from paas.convergence.models import Instance, InstanceState
from paas.convergence.selectors import state_of
from paas.dashboard.forms import AppForm
from paas.dashboard.requests import access_to, current_user
from paas.formation.selectors import formation
from paas.metrics.selectors import recent_requests
from paas.pipelines.selectors import find_coupling
from paas.releases.models import UNFINISHED, Release, ReleaseStatus
from paas.releases.selectors import current_release
from runtime.errors import UserError


@require_GET
@login_required
def app_list(request: HttpRequest) -> HttpResponse:
    apps = (
        apps_visible_to(current_user(request))
        .select_related("current_release__image")
        .only(
            "name",
            "maintenance",
            "current_release__version",
            "current_release__description",
            "current_release__finished_at",
            "current_release__image__commit_subject",
        )
        .prefetch_related(Prefetch("instances", Instance.objects.only("app_id", "process", "index", "state", "reason")))
        .annotate(
            is_building=Exists(Build.objects.filter(app=OuterRef("pk"), status__in=ACTIVE)),
            is_releasing=Exists(Release.objects.filter(app=OuterRef("pk"), status__in=UNFINISHED)),
        )
    )
    rows = []
    for app in apps:
        instances = list(app.instances.all())
        rows.append(
            {
                "app": app,
                "state": state_of(app, instances, is_deploying=app.is_building or app.is_releasing),
                "up": sum(each.state == InstanceState.UP for each in instances),
                "instances": instances,
            }
        )
    return render(request, "dashboard/apps.html", {"rows": rows, "first_push": _first_push("my-app")})


@require_http_methods(["GET", "POST"])
@login_required
def new_app(request: HttpRequest) -> HttpResponse:
    form = AppForm(request.POST or None)
    if form.is_valid():
        try:
            app = create_app(name=form.cleaned_data["name"], by=current_user(request))
        except UserError as exc:
            form.add_error("name", str(exc))
        else:
            messages.success(request, f"Created {app.name}. Now push to it.")
            return redirect("app", name=app.name)
    return render(request, "dashboard/app_new.html", {"form": form}, status=422 if form.errors else 200)


@require_GET
@login_required
def overview(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name)
    current = current_release(app)
    instances = list(app.instances.all())
    releases = list(app.releases.select_related("created_by", "image")[:5])
    builds = list(app.builds.select_related("release")[:5])
    is_deploying = any(not each.is_finished for each in releases[:1]) or any(not each.is_finished for each in builds[:1])
    return render(
        request,
        "dashboard/app.html",
        {
            "app": app,
            "access": access_to(app, user),
            "state": state_of(app, instances, is_deploying=is_deploying),
            "current": current,
            "news": list(_news(app, current, instances, releases, builds)),
            "processes": formation(app, current) if current else [],
            "instances": instances,
            "place": find_coupling(user, app),
            "requests": recent_requests(app),
            "releases": releases,
            "builds": builds,
            "remote": git_url(app.name),
            "ssh_remote": git_ssh_url(app.name),
            "first_push": _first_push(app.name),
            "scale_up": f"paas ps:scale web=1 -a {app.name}",
        },
    )


@dataclass(frozen=True, slots=True)
class News:
    """A notice: what happened, what we saw, what to do next."""

    tone: str
    title: str
    text: str = ""
    hint: str = ""
    link_url: str = ""
    link_label: str = ""


def _news(
    app: App, current: Release | None, instances: list[Instance], releases: list[Release], builds: list[Build]
) -> Iterator[News]:
    """What somebody has to know before anything else: why it is down, what went wrong last, what goes on right now."""
    for instance in instances:
        if instance.state == InstanceState.CRASHED:
            yield News("bad", f"{instance} is down.", f"It {instance.reason}." if instance.reason else "")
    if app.stopped_at:
        yield News(
            "warn", f"{app.name} is stopped.", "Visitors see a page that says so. Deploys are made ready, not started.",
            link_url=reverse("scale", args=[app.name]), link_label="Start it there",
        )  # fmt: skip
    if app.maintenance:
        yield News("warn", "Maintenance mode is on.", "Visitors see the maintenance page; instances go on running.")
    newest = releases[0] if releases else None
    build = builds[0] if builds else None
    if build and not build.is_finished and not build.release:
        yield News("", f"Build {build.number} is running.", link_url=_build_url(build), link_label="Follow its log")
    elif newest and not newest.is_finished:
        before = f"Visitors stay on v{current.version} until it is healthy." if current and current.image else ""
        yield News("", f"v{newest.version} is being released.", before)
    elif build and build.status == BuildStatus.FAILED and _is_latest(build, newest):
        kept = f" Visitors still see v{current.version}." if current and current.image else ""
        yield News(
            "bad", f"Build {build.number} failed.{kept}", build.reason, build.hint,
            link_url=_build_url(build), link_label="See its log",
        )  # fmt: skip
    elif newest and newest.status == ReleaseStatus.FAILED:
        kept = f" Visitors still see v{current.version}." if current and current.image else ""
        yield News("bad", f"v{newest.version} was not released.{kept}", newest.reason, newest.hint)


def _is_latest(build: Build, release: Release | None) -> bool:
    """Nothing was released after it."""
    return release is None or build.release_id == release.pk or build.created_at > release.created_at


def _build_url(build: Build) -> str:
    return reverse("build", args=[build.app.name, build.number])


def _first_push(name: str) -> str:
    return f"git remote add paas {git_url(name)}\ngit push paas main"


urlpatterns = [
    path("", app_list, name="apps"),
    path("new-app", new_app, name="app-new"),
    path("apps/<str:name>", overview, name="app"),
]
