"""Config vars: masked until somebody asks, changed one by one or as text, with a look at the change before it is made.

No value is ever in an address, a session or a log. Between the text, the preview and the deed it travels in the form
itself; a page that shows values is the answer to a POST and is kept nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET

from paas.apps.models import App, Role
from paas.apps.selectors import get_app
from paas.config.envfile import format_env, parse_env
from paas.config.rules import MAX_TOTAL_BYTES
from paas.config.selectors import Difference, changed_config, config_history, difference, present_config
from paas.config.services import change_config, check_seen, reveal_config
from paas.dashboard.middleware import status_of
from paas.dashboard.requests import access_to, current_user
from paas.releases.diff import MASKED
from paas.releases.models import Release
from runtime.errors import Conflict, Failure, InvalidInput

MAX_FILE_BYTES = 8 * MAX_TOTAL_BYTES  # with comments and quotes

View = Callable[[HttpRequest, str], HttpResponse]


def form_action(view: View) -> View:
    """The address of a form. Whoever comes by a link, such as after signing in again, is shown the config."""

    @never_cache
    @login_required
    @sensitive_post_parameters("value", "text")
    def wrapped(request: HttpRequest, name: str) -> HttpResponse:
        return view(request, name) if request.method == "POST" else redirect("config", name=name)

    return wrapped


class VarForm(forms.Form):
    name = forms.CharField(label="Name")
    value = forms.CharField(label="Value", required=False, strip=False)

    def values(self) -> dict[str, str]:
        """A form sends line ends as CR LF; what was meant is a line feed."""
        return {self.cleaned_data["name"]: self.cleaned_data["value"].replace("\r\n", "\n")}


class TextForm(forms.Form):
    """Config as `.env` text. Dots stand for a value that stays as it is."""

    text = forms.CharField(
        label=".env",
        required=False,
        strip=False,
        widget=forms.Textarea(
            attrs={"rows": 16, "spellcheck": "false", "autocomplete": "off", "autocapitalize": "none", "wrap": "off"}
        ),
        help_text="One NAME=value a line. Values are literal: nothing is interpolated. Put those with several lines, "
        "or with blanks at an end, in quotes. Comments are not kept.",
    )
    file = forms.FileField(
        label="Or a file", required=False, allow_empty_file=True, help_text="It takes the place of the text above."
    )
    others = forms.ChoiceField(
        label="What is not in the text",
        choices=[("stays", "stays as it is"), ("goes", "is removed")],
        widget=forms.RadioSelect,
    )
    seen = forms.IntegerField(widget=forms.HiddenInput, min_value=0, max_value=2**31 - 1)

    @property
    def replaces(self) -> bool:
        return bool(self.cleaned_data["others"] == "goes")


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a text asks for, against the config as it is."""

    values: dict[str, str]
    keep: tuple[str, ...]
    notes: tuple[str, ...]
    difference: Difference
    version: int


@require_GET
@never_cache
@login_required
def config(request: HttpRequest, name: str) -> HttpResponse:
    return _page(request, get_app(current_user(request), name))


@form_action
def reveal(request: HttpRequest, name: str) -> HttpResponse:
    app = get_app(current_user(request), name, Role.OPERATOR)
    names = request.POST.getlist("name") or None
    shown = reveal_config(app, names, by=current_user(request)).values
    return _page(request, app, shown=shown, editing="edit" in request.POST)


@form_action
def set_var(request: HttpRequest, name: str) -> HttpResponse:
    app = get_app(current_user(request), name, Role.OPERATOR)
    form = VarForm(request.POST)
    if form.is_valid():
        try:
            release = change_config(app, form.values(), by=current_user(request))
        except InvalidInput as exc:
            form.add_error("name" if exc.id.endswith("config_name") else "value", str(exc))
        else:
            return _done(request, app, release)
    return _page(request, app, form=form, status=422)


@form_action
def unset_var(request: HttpRequest, name: str) -> HttpResponse:
    app = get_app(current_user(request), name, Role.OPERATOR)
    names = request.POST.getlist("name")
    return _done(request, app, change_config(app, dict.fromkeys(names), by=current_user(request)))


@form_action
def export(request: HttpRequest, name: str) -> HttpResponse:
    app = get_app(current_user(request), name, Role.OPERATOR)
    values = reveal_config(app, by=current_user(request), action="export").values
    return HttpResponse(
        format_env(values),
        content_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{app.name}.env"'},
    )


@never_cache
@login_required
@sensitive_post_parameters("text")
def edit_text(request: HttpRequest, name: str) -> HttpResponse:
    """With dots, with the values (somebody has asked for them), or with what was typed (back from the preview)."""
    app = get_app(current_user(request), name, Role.OPERATOR)
    if request.method == "POST" and "text" in request.POST:
        return _editor(request, app, TextForm(initial=request.POST.dict()))
    present = reveal_config(app, by=current_user(request)) if request.method == "POST" else present_config(app)
    values = present.values if request.method == "POST" else dict.fromkeys(present.values, MASKED)
    text = format_env(values).replace(f"'{MASKED}'", MASKED)
    return _editor(request, app, TextForm(initial={"text": text, "others": "goes", "seen": present.version}))


@form_action
def preview(request: HttpRequest, name: str) -> HttpResponse:
    app = get_app(current_user(request), name, Role.OPERATOR)
    form = _with_file(request)
    if not form.is_valid():
        return _editor(request, app, form, status=422)
    try:
        proposal = _propose(app, form)
    except InvalidInput as exc:
        form.add_error("text", exc.message)
        return _editor(request, app, form, status=422)
    try:
        check_seen(app, present_config(app), form.cleaned_data["seen"])
    except Conflict as exc:
        return _preview(request, app, form, proposal, conflict=exc)
    return _preview(request, app, form, proposal)


@form_action
def apply(request: HttpRequest, name: str) -> HttpResponse:
    app = get_app(current_user(request), name, Role.OPERATOR)
    form = TextForm(request.POST)
    if not form.is_valid():
        return _editor(request, app, form, status=422)
    try:
        proposal = _propose(app, form)
        release = change_config(
            app,
            proposal.values,
            by=current_user(request),
            replace=form.replaces,
            keep=proposal.keep,
            seen_version=form.cleaned_data["seen"],
        )
    except InvalidInput as exc:
        form.add_error("text", exc.message)
        return _editor(request, app, form, status=422)
    except Conflict as exc:
        return _preview(request, app, form, _propose(app, form), conflict=exc)
    return _done(request, app, release)


def _with_file(request: HttpRequest) -> TextForm:
    """The form with the file's content as its text, so that whoever has to mend it sees it."""
    file = request.FILES.get("file")
    if not isinstance(file, UploadedFile) or not file.name:
        return TextForm(request.POST)
    data = request.POST.copy()
    if file.size is not None and file.size > MAX_FILE_BYTES:
        form = TextForm(data)
        form.add_error("file", f"The file is {file.size:,} bytes; the limit is {MAX_FILE_BYTES:,}.")
        return form
    try:
        data["text"] = file.read().decode()
    except UnicodeDecodeError:
        form = TextForm(data)
        form.add_error("file", "The file is not UTF-8 text.")
        return form
    return TextForm(data)


def _propose(app: App, form: TextForm) -> Proposal:
    """Raises `InvalidInput`."""
    given = parse_env(form.cleaned_data["text"])
    present = present_config(app)
    keep = tuple(sorted(name for name, value in given.values.items() if value == MASKED))
    values = {name: value for name, value in given.values.items() if name not in keep}
    after = changed_config(present.values, values, replace=form.replaces, keep=keep)
    return Proposal(values, keep, given.notes, difference(present.values, after), present.version)


def _done(request: HttpRequest, app: App, release: Release | None) -> HttpResponse:
    if release is None:
        messages.info(request, "Nothing changes: the config is like that already.")
    elif release.is_finished:
        messages.success(request, f"Saved as v{release.version}.")
    else:
        messages.success(request, f"Saved: v{release.version} is being released.")
    return redirect("config", name=app.name)


def _page(
    request: HttpRequest,
    app: App,
    *,
    shown: Mapping[str, str] | None = None,
    editing: bool = False,
    form: VarForm | None = None,
    status: int = 200,
) -> HttpResponse:
    present = present_config(app)
    steps = config_history(app)
    shown = shown or {}
    since: dict[str, Release] = {}
    for step in steps:
        for var in (*step.difference.added, *step.difference.changed):
            since.setdefault(var, step.release)
    rows = [
        {
            "name": var,
            "value": shown.get(var),
            "is_shown": var in shown,
            "is_editing": editing and var in shown,
            # A text field turns a carriage return into a line feed.
            "has_return": var in shown and "\r" in shown[var],
            "since": since.get(var),
        }
        for var in sorted(present.values)
    ]
    return render(
        request,
        "dashboard/config.html",
        {
            "app": app,
            "access": access_to(app, current_user(request)),
            "rows": rows,
            "version": present.version,
            "mask": MASKED,
            "all_shown": bool(rows) and len(shown) == len(rows),
            "steps": steps,
            "form": form or VarForm(),
            "example": f"paas config:set NAME=value -a {app.name}",
        },
        status=status,
    )


def _editor(request: HttpRequest, app: App, form: TextForm, *, status: int = 200) -> HttpResponse:
    return render(request, "dashboard/config_text.html", {"app": app, "form": form, "mask": MASKED}, status=status)


def _preview(
    request: HttpRequest, app: App, form: TextForm, proposal: Proposal, *, conflict: Failure | None = None
) -> HttpResponse:
    names = proposal.difference
    changes = [
        *({"sign": "add", "name": name, "after": MASKED} for name in names.added),
        *({"sign": "change", "name": name, "before": MASKED, "after": MASKED} for name in names.changed),
        *({"sign": "remove", "name": name, "before": MASKED} for name in names.removed),
    ]
    context = {
        "app": app,
        "text": form.cleaned_data["text"],
        "others": form.cleaned_data["others"],
        "changes": changes,
        "unchanged": names.unchanged,
        "notes": proposal.notes,
        "seen": proposal.version,
        "conflict": conflict,
    }
    return render(request, "dashboard/config_preview.html", context, status=status_of(conflict) if conflict else 200)


urlpatterns = [
    path("apps/<str:name>/config", config, name="config"),
    path("apps/<str:name>/config/reveal", reveal, name="config_reveal"),
    path("apps/<str:name>/config/set", set_var, name="config_set"),
    path("apps/<str:name>/config/unset", unset_var, name="config_unset"),
    path("apps/<str:name>/config/export", export, name="config_export"),
    path("apps/<str:name>/config/text", edit_text, name="config_text"),
    path("apps/<str:name>/config/preview", preview, name="config_preview"),
    path("apps/<str:name>/config/apply", apply, name="config_apply"),
]
