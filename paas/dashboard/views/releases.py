"""The timeline of an app, one release, what differs between two, going back to one, and the tags.

What would change is shown before it is changed, and the deed says what was seen: a form that came too late is told so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from paas.accounts.models import User
from paas.apps.models import App, Role
from paas.apps.selectors import get_app, git_url
from paas.dashboard.forms import text
from paas.dashboard.middleware import status_of
from paas.dashboard.requests import Access, access_to, current_user
from paas.formation.selectors import formation
from paas.releases import tags as tag_services
from paas.releases.diff import Diff, health_in_words
from paas.releases.models import Release, ReleaseStatus, Tag
from paas.releases.retention import KEPT_RELEASES
from paas.releases.selectors import (
    PARTS,
    current_release,
    deploy_preview,
    get_release,
    get_tag,
    named_image,
    named_release,
    newest_releases,
    previous_release,
    release_diff,
    rollback_preview,
    tags_of,
    timeline,
    wished_release,
)
from paas.releases.services import deploy_tag, reveal_config, roll_back, set_pinned
from runtime.errors import Failure, UserError

RELEASES_ON_A_PAGE = 20
TAGS_ON_A_PAGE = 30
PART_WORDS = {
    "code": ("Code", "the image, its commands and its own checks"),
    "config": ("Config", "all config vars"),
    "ports": ("Ports", "public ports and where they lead"),
    "limits": ("Limits", "memory and CPU of each process type"),
    "health": ("Health settings", "those set here, not those of the code"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A release in the timeline."""

    release: Release
    tags: Sequence[Tag]
    is_current: bool
    can_go_back: bool


@dataclass(frozen=True, slots=True)
class Part:
    """What a rollback can restore by itself."""

    name: str
    label: str
    help: str
    is_chosen: bool


@require_GET
@login_required
def releases(request: HttpRequest, name: str) -> HttpResponse:
    app = get_app(current_user(request), name)
    access = access_to(app, current_user(request))
    page = _page(request, Paginator(timeline(app), RELEASES_ON_A_PAGE))
    versions = [release.version for release in page.object_list]
    return render(
        request,
        "dashboard/releases.html",
        {
            "app": app,
            "access": access,
            "page": page,
            "rows": [_row(app, access, release) for release in page.object_list],
            "compare_from": versions[min(1, len(versions) - 1)] if versions else "",
            "compare_to": versions[0] if versions else "",
            "first_push": f"git remote add paas {git_url(app.name)}\ngit push paas main",
        },
    )


def _page(request: HttpRequest, paginator: Paginator) -> Page:  # type: ignore[type-arg]  # not subscriptable at run time
    return paginator.get_page(request.GET.get("page"))


def _row(app: App, access: Access, release: Release) -> Row:
    is_current = release.pk == app.current_release_id
    ran = release.status == ReleaseStatus.SUCCEEDED and release.image_id is not None
    tags = release.image.tags.all() if release.image else ()
    return Row(
        release,
        [tag for tag in tags if not tag_services.is_ours(tag.name)],
        is_current,
        can_go_back=ran and not is_current and access.can_operate,
    )


@require_GET
@login_required
def release(request: HttpRequest, name: str, version: int) -> HttpResponse:
    app = get_app(current_user(request), name)
    access = access_to(app, current_user(request))
    found = get_release(app, version)
    before = previous_release(found)
    return render(
        request,
        "dashboard/release.html",
        {
            "app": app,
            "access": access,
            "release": found,
            "row": _row(app, access, found),
            "before": before,
            "diff": release_diff(app, before, found),
            "processes": [
                {"process": process, "health": _health(found, process.process)} for process in formation(app, found)
            ],
            "config_names": sorted(found.config),
            "tags": tags_of(app).filter(image=found.image) if found.image else (),
            "kept_releases": KEPT_RELEASES,
            "collected": _collected(found),
        },
    )


def _collected(release: Release) -> str:
    if release.image is None or release.image.collected_at is None:
        return ""
    return (
        f"On {release.image.collected_at:%Y-%m-%d}, as nothing kept it any more. "
        "A rollback can still restore its settings; its code has to be pushed again."
    )


def _health(release: Release, process: str) -> str:
    check = release.health.get(process)
    return health_in_words(check) if check else ""


@never_cache
@require_http_methods(["GET", "POST"])
@login_required
def compare(request: HttpRequest, name: str) -> HttpResponse:
    """Any two; a POST shows the values of config vars as well, which is recorded."""
    reveals = request.method == "POST"
    app = get_app(current_user(request), name, Role.OPERATOR if reveals else Role.VIEWER)
    before = named_release(app, request.GET.get("from", ""))
    after = named_release(app, request.GET.get("to", ""))
    changes = reveal_config(app, before, after, by=current_user(request)) if reveals else None
    return render(
        request,
        "dashboard/release_compare.html",
        {
            "app": app,
            "access": access_to(app, current_user(request)),
            "before": before,
            "after": after,
            "diff": release_diff(app, before, after),
            "values": changes,
        },
    )


@never_cache
@require_http_methods(["GET", "POST"])
@login_required
def rollback(request: HttpRequest, name: str, version: int) -> HttpResponse:
    app = get_app(current_user(request), name, Role.OPERATOR)
    target = get_release(app, version)
    data = request.POST if request.method == "POST" else request.GET
    default = [part for part in PARTS if part != "code" or not (target.image and target.image.collected_at)]
    has_chosen = request.method == "POST" or "chosen" in data  # a box that is not ticked is not sent
    only = data.getlist("only") if has_chosen else default
    conflict = None
    if request.method == "POST":
        try:
            made = roll_back(app, target, by=current_user(request), only=only, why=_why(request), seen=_seen(request))
        except UserError as exc:
            conflict = exc
        else:
            messages.success(request, f"Rolling back to v{target.version}: v{made.version} is being released.")
            return redirect("releases", name=app.name)
    return _rollback_page(request, app, target, only, conflict)


def _rollback_page(
    request: HttpRequest, app: App, target: Release, only: Sequence[str], conflict: UserError | None
) -> HttpResponse:
    base = wished_release(app)
    diff, refusal = None, conflict
    try:
        preview = rollback_preview(app, target, by=current_user(request), only=only)
    except UserError as exc:
        refusal = exc
    else:
        diff, refusal = preview.diff, preview.refusal or conflict
    return render(
        request,
        "dashboard/release_rollback.html",
        {
            "app": app,
            "target": target,
            "base": base,
            "current": current_release(app),
            "seen": base.version if base else 0,
            "parts": [Part(part, *PART_WORDS[part], part in only) for part in PARTS],
            "is_everything": set(only) == set(PARTS),
            "only": only,
            "diff": diff,
            "refusal": refusal,
            "can_be_done": diff is not None and (refusal is None or refusal is conflict),
            "why": _why(request),
        },
        status=status_of(conflict) if conflict else 200,
    )


def _why(request: HttpRequest) -> str:
    """As it was typed, for the form to show again."""
    return request.POST.get("why", "")


def _seen(request: HttpRequest) -> int | None:
    seen = request.POST.get("seen", "")
    return int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 10 else None


@require_POST
@login_required
def pin(request: HttpRequest, name: str, version: int) -> HttpResponse:
    app = get_app(current_user(request), name, Role.OPERATOR)
    found = get_release(app, version)
    is_on = "off" not in request.POST
    set_pinned(found, is_on, by=current_user(request))
    kept = "its image is kept, however old it gets" if is_on else "its image goes when it gets old"
    messages.success(request, f"v{found.version} is {'pinned' if is_on else 'no longer pinned'}: {kept}.")
    return redirect("release", name=app.name, version=found.version)


class TagForm(forms.Form):
    name = forms.CharField(label="Name", max_length=128, widget=text(placeholder="stable"))
    target = forms.CharField(label="Points to a release or tag", max_length=128, widget=text(placeholder="v12"))


@require_http_methods(["GET", "POST"])
@login_required
def tags(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR if request.method == "POST" else Role.VIEWER)
    form = TagForm(request.POST or None, initial={"target": request.GET.get("target", "latest")})
    if form.is_valid():
        failure = _add_tag(request, app, form, user)
        if failure is None:
            return redirect("tags", name=app.name)
        form.add_error("target" if failure.id.endswith("_found") else "name", str(failure))
    page = _page(request, Paginator(tag_services.platform_tags(app), TAGS_ON_A_PAGE))
    own = list(tag_services.own_tags(app))
    ran = newest_releases(app, [tag.image for tag in own])
    return render(
        request,
        "dashboard/tags.html",
        {
            "app": app,
            "access": access_to(app, user),
            "own": [{"tag": tag, "release": ran.get(tag.image_id)} for tag in own],
            "page": page,
            "form": form,
            "example": f"paas tags:add stable -a {app.name}",
        },
        status=422 if form.errors else 200,
    )


def _add_tag(request: HttpRequest, app: App, form: TagForm, user: User) -> Failure | None:
    try:
        image = named_image(app, form.cleaned_data["target"])
        moved = tag_services.add_tag(app, form.cleaned_data["name"], image, by=user)
    except UserError as exc:
        return exc
    tag = form.cleaned_data["name"]
    messages.success(
        request, f"{tag} points to {form.cleaned_data['target']} now." if moved else f"{tag} is there already."
    )
    return None


@require_POST
@login_required
def remove_tag(request: HttpRequest, name: str) -> HttpResponse:
    app = get_app(current_user(request), name, Role.OPERATOR)
    tag = request.POST.get("tag", "")
    tag_services.remove_tag(app, tag, by=current_user(request))
    messages.success(request, f"Removed the tag {tag}. The image stays as long as a release keeps it.")
    return redirect("tags", name=app.name)


@require_POST
@login_required
def protect_tag(request: HttpRequest, name: str) -> HttpResponse:
    app = get_app(current_user(request), name, Role.OPERATOR)
    tag = request.POST.get("tag", "")
    is_on = "off" not in request.POST
    tag_services.protect_tag(app, tag, is_on, by=current_user(request))
    messages.success(request, f"{tag} is {'protected' if is_on else 'no longer protected'}.")
    return redirect("tags", name=app.name)


@never_cache
@require_http_methods(["GET", "POST"])
@login_required
def deploy(request: HttpRequest, name: str) -> HttpResponse:
    """A tag's image with the present settings, after a look at what changes."""
    app = get_app(current_user(request), name, Role.DEVELOPER)
    tag = get_tag(app, (request.POST if request.method == "POST" else request.GET).get("tag", ""))
    conflict: UserError | None = None
    if request.method == "POST":
        try:
            made = deploy_tag(app, tag.name, by=current_user(request), why=_why(request), seen=_seen(request))
        except UserError as exc:
            conflict = exc
        else:
            messages.success(request, f"Deploying {tag.name}: v{made.version} is being released.")
            return redirect("releases", name=app.name)
    base = wished_release(app)
    diff: Diff = deploy_preview(app, tag.image, tag.name)
    context = {
        "app": app,
        "tag": tag,
        "current": current_release(app),
        "seen": base.version if base else 0,
        "diff": diff,
        "refusal": conflict,
        "why": _why(request),
    }
    return render(request, "dashboard/tag_deploy.html", context, status=status_of(conflict) if conflict else 200)


urlpatterns = [
    path("apps/<str:name>/releases", releases, name="releases"),
    path("apps/<str:name>/releases/compare", compare, name="release_compare"),
    path("apps/<str:name>/releases/tags", tags, name="tags"),
    path("apps/<str:name>/releases/tags/remove", remove_tag, name="tag_remove"),
    path("apps/<str:name>/releases/tags/protect", protect_tag, name="tag_protect"),
    path("apps/<str:name>/releases/tags/deploy", deploy, name="tag_deploy"),
    path("apps/<str:name>/releases/<int:version>", release, name="release"),
    path("apps/<str:name>/releases/<int:version>/rollback", rollback, name="release_rollback"),
    path("apps/<str:name>/releases/<int:version>/pin", pin, name="release_pin"),
]
