"""Pipelines: the list, one with its stages, what differs between two apps, and a promotion with a preview."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from paas.accounts.models import User
from paas.apps.models import App, Role
from paas.apps.selectors import apps_visible_to, get_app, roles_of
from paas.dashboard.forms import refusals_shown, text
from paas.dashboard.middleware import status_of
from paas.dashboard.requests import current_user
from paas.pipelines import selectors, services
from paas.pipelines.models import Coupling, Pipeline, Promotion, Stage
from paas.pipelines.selectors import Place, PromotionPreview, Result
from paas.releases.diff import Diff
from runtime.errors import InvalidInput, NotFound, UserError

PROMOTIONS_SHOWN = 10


class PipelineForm(forms.Form):
    name = forms.CharField(
        label="Name",
        max_length=30,
        widget=text(placeholder="shop"),
        help_text="3 to 30 lower-case letters, digits and dashes.",
    )


class AddAppForm(forms.Form):
    app = forms.ChoiceField(label="App")
    stage = forms.ChoiceField(label="Stage", choices=[(stage.value, stage.label) for stage in Stage])

    def __init__(self, *arguments: object, apps: Sequence[App], **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]  # as Django takes them
        self.fields["app"].choices = [(app.name, app.name) for app in apps]  # type: ignore[attr-defined]


@require_http_methods(["GET", "POST"])
@login_required
def pipelines(request: HttpRequest) -> HttpResponse:
    user = current_user(request)
    form = PipelineForm(request.POST or None)
    if form.is_valid():
        with refusals_shown(form, "name"):
            made = services.create_pipeline(form.cleaned_data["name"], by=user)
            messages.success(request, f"Created {made.name}. Now add apps to its stages.")
            return redirect("pipeline", pipeline=made.name)
    rows = [{"pipeline": each, "stages": selectors.stages(each, user)} for each in selectors.pipelines_visible_to(user)]
    status = 422 if form.errors else 200
    return render(request, "dashboard/pipelines/list.html", {"rows": rows, "form": form}, status=status)


@dataclass(frozen=True, slots=True)
class Card:
    """An app in its column, and what is offered there."""

    place: Place
    differs: bool  # from everything in the stage before
    upstream: App | None  # the first app of that stage, to compare with
    may_promote: bool
    may_move: bool


@dataclass(frozen=True, slots=True)
class Column:
    stage: Stage
    cards: Sequence[Card]


@dataclass(frozen=True, slots=True)
class Report:
    promotion: Promotion
    results: Sequence[Result]


@require_GET
@login_required
def show(request: HttpRequest, pipeline: str) -> HttpResponse:
    return _pipeline_page(request, selectors.get_pipeline(current_user(request), pipeline))


def _pipeline_page(
    request: HttpRequest,
    found: Pipeline,
    *,
    add: AddAppForm | None = None,
    rename: PipelineForm | None = None,
    error: str = "",
) -> HttpResponse:
    user = current_user(request)
    manages = selectors.manages(found, user)
    recent = selectors.promotions_of(found, user)[:PROMOTIONS_SHOWN]
    columns = _columns(found, user, manages=manages)
    context = {
        "pipeline": found,
        "manages": manages,
        "columns": columns,
        "moves": [card.place for column in columns for card in column.cards if card.may_move],
        "reports": [Report(promotion, selectors.results(promotion, user)) for promotion in recent],
        "add": add or (_add_form(user) if manages else None),
        "rename": rename or PipelineForm(initial={"name": found.name}),
        "stages": list(Stage),
        "error": error,
    }
    failed = error or any(form is not None and form.errors for form in (add, rename))
    return render(request, "dashboard/pipelines/pipeline.html", context, status=422 if failed else 200)


def _columns(found: Pipeline, user: User, *, manages: bool) -> list[Column]:
    columns = selectors.stages(found, user)
    has_others = sum(len(column.places) for column in columns) > 1
    shown = []
    for column in columns:
        following = selectors.next_stage(column.stage)
        cards = [
            Card(
                place,
                differs=place.differs_from(column.upstream),
                upstream=next((other.app for other in column.upstream if other.image), None),
                may_promote=place.image is not None and has_others and following is not None,
                may_move=manages or place.role >= Role.OWNER,
            )
            for place in column.places
        ]
        shown.append(Column(column.stage, cards))
    return shown


def _add_form(user: User, data: object = None) -> AddAppForm:
    free = list(apps_visible_to(user).filter(coupling__isnull=True))
    roles = roles_of(user, free)
    return AddAppForm(data, apps=[app for app in free if roles[app.pk] >= Role.OPERATOR])


@require_POST
@login_required
def add_app(request: HttpRequest, pipeline: str) -> HttpResponse:
    user = current_user(request)
    found = selectors.get_pipeline(user, pipeline, for_managing=True)
    form = _add_form(user, request.POST)
    if form.is_valid():
        app = get_app(user, form.cleaned_data["app"], Role.OPERATOR)
        with refusals_shown(form, "app"):
            services.couple_app(found, app, form.cleaned_data["stage"], by=user)
            messages.success(request, f"{app.name} is in {form.cleaned_data['stage']} now.")
            return redirect("pipeline", pipeline=found.name)
    return _pipeline_page(request, found, add=form)


@require_POST
@login_required
def move_app(request: HttpRequest, pipeline: str) -> HttpResponse:
    """To another stage, or out of the pipeline."""
    user = current_user(request)
    coupling = _coupling(user, pipeline, request.POST.get("app", ""))
    stage = request.POST.get("stage", "")
    if stage:
        services.move_app(coupling, stage, by=user)
        messages.success(request, f"{coupling.app.name} is in {stage} now.")
    else:
        services.uncouple_app(coupling, by=user)
        messages.success(request, f"{coupling.app.name} is no longer in {pipeline}. The app itself stays as it is.")
    return redirect("pipeline", pipeline=pipeline) if _is_seen(user, pipeline) else redirect("pipelines")


def _coupling(user: User, name: str, app_name: str) -> Coupling:
    found = selectors.get_pipeline(user, name)
    coupling = selectors.coupling_of(user, get_app(user, app_name), for_managing=True)
    if coupling.pipeline_id != found.pk:
        raise NotFound(f"{app_name} is not in {name}.", id="not_in_a_pipeline")
    return coupling


def _is_seen(user: User, name: str) -> bool:
    """Whoever took their last app out sees it no more."""
    return selectors.pipelines_visible_to(user).filter(name=name).exists()


@require_POST
@login_required
def rename(request: HttpRequest, pipeline: str) -> HttpResponse:
    user = current_user(request)
    found = selectors.get_pipeline(user, pipeline, for_managing=True)
    form = PipelineForm(request.POST)
    if form.is_valid():
        with refusals_shown(form, "name"):
            services.rename_pipeline(found, form.cleaned_data["name"], by=user)
            messages.success(request, f"It is called {found.name} now.")
            return redirect("pipeline", pipeline=found.name)
    return _pipeline_page(request, found, rename=form)


@require_POST
@login_required
def destroy(request: HttpRequest, pipeline: str) -> HttpResponse:
    user = current_user(request)
    found = selectors.get_pipeline(user, pipeline, for_managing=True)
    if (typed := request.POST.get("confirm", "")) != found.name:
        return _pipeline_page(request, found, error=f"“{typed}” is not “{found.name}”. Nothing was destroyed.")
    services.destroy_pipeline(found, by=user)
    messages.success(request, f"{pipeline} is gone. Its apps stay as they are.")
    return redirect("pipelines")


@require_GET
@login_required
def compare(request: HttpRequest, pipeline: str) -> HttpResponse:
    """What runs in one app against what runs in another."""
    user = current_user(request)
    found = selectors.get_pipeline(user, pipeline)
    before, after = (_member(user, found, request.GET.get(side, "")) for side in ("from", "to"))
    context = {
        "pipeline": found,
        "before": before,
        "after": after,
        "diff": selectors.difference_of_apps(before, after),
    }
    return render(request, "dashboard/pipelines/compare.html", context)


def _member(user: User, found: Pipeline, app_name: str, role: Role = Role.VIEWER) -> App:
    app = get_app(user, app_name, role)
    if not found.couplings.filter(app=app).exists():
        raise NotFound(f"{app.name} is not in {found.name}.", id="not_in_a_pipeline")
    return app


@dataclass(frozen=True, slots=True)
class Choice:
    """An app to promote to: why it can't be chosen, if so, and what would change in it."""

    place: Place
    is_chosen: bool
    preview: PromotionPreview | None
    refusal: str

    @property
    def diff(self) -> Diff | None:
        return self.preview.diff if self.preview else None


@never_cache
@require_http_methods(["GET", "POST"])
@login_required
def promote(request: HttpRequest, pipeline: str) -> HttpResponse:
    user = current_user(request)
    found = selectors.get_pipeline(user, pipeline)
    data = request.POST if request.method == "POST" else request.GET
    source = _member(user, found, data.get("source", ""))
    chosen = data.getlist("to")
    if "chosen" not in data and request.method == "GET" and not chosen:  # a box that is not ticked is not sent
        chosen = _defaults(source, user)
    conflict: UserError | None = None
    if request.method == "POST":
        targets = [_member(user, found, target, Role.DEVELOPER) for target in chosen]
        try:
            made = services.promote(
                found, source, targets, by=user, why=request.POST.get("why", ""), seen=_seen(request, targets)
            )
        except UserError as exc:
            conflict = exc
        else:
            names = ", ".join(app.name for app in targets)
            messages.success(request, f"Promoting {source.name} {made.release} to {names}.")
            return redirect("pipeline", pipeline=found.name)
    return _promote_page(request, found, source, chosen, conflict)


def _defaults(source: App, user: User) -> list[str]:
    """The apps of the next stage into which this person may deploy."""
    try:
        apps = selectors.default_targets(selectors.coupling_of(user, source), user)
    except InvalidInput:
        return []
    roles = roles_of(user, apps)
    return [app.name for app in apps if roles[app.pk] >= Role.DEVELOPER]


def _seen(request: HttpRequest, targets: Sequence[App]) -> dict[UUID, int]:
    given = {app.pk: request.POST.get(f"seen-{app.name}", "") for app in targets}
    return {key: int(text) for key, text in given.items() if text.isascii() and text.isdigit() and len(text) < 10}


def _promote_page(
    request: HttpRequest, found: Pipeline, source: App, chosen: Sequence[str], conflict: UserError | None
) -> HttpResponse:
    user = current_user(request)
    refusal, release = conflict, None
    try:
        release = selectors.promotable_release(source)
    except UserError as exc:
        refusal = exc
    choices = []
    for column in selectors.stages(found, user):
        for place in column.places:
            if place.app.pk == source.pk:
                continue
            is_chosen = place.app.name in chosen and place.may_deploy
            preview = selectors.promotion_preview(source, place.app, release) if release and is_chosen else None
            needs = "" if place.may_deploy else f"You are {place.role.label.lower()} there; this takes developer."
            choices.append(Choice(place, is_chosen, preview, needs))
    picked = [choice for choice in choices if choice.is_chosen]
    context = {
        "pipeline": found,
        "source": source,
        "release": release,
        "choices": choices,
        "picked": picked,
        "refusal": refusal,
        "can_be_done": release is not None and bool(picked),
        "why": request.POST.get("why", ""),
    }
    status = status_of(conflict) if conflict else 200
    return render(request, "dashboard/pipelines/promote.html", context, status=status)


urlpatterns = [
    path("pipelines", pipelines, name="pipelines"),
    path("pipelines/<str:pipeline>", show, name="pipeline"),
    path("pipelines/<str:pipeline>/add", add_app, name="pipeline-add"),
    path("pipelines/<str:pipeline>/move", move_app, name="pipeline-move"),
    path("pipelines/<str:pipeline>/rename", rename, name="pipeline-rename"),
    path("pipelines/<str:pipeline>/destroy", destroy, name="pipeline-destroy"),
    path("pipelines/<str:pipeline>/compare", compare, name="pipeline-compare"),
    path("pipelines/<str:pipeline>/promote", promote, name="pipeline-promote"),
]
