"""Where an app can be reached: its public TCP and UDP ports, and its host names with what DNS has to say of them."""

from __future__ import annotations

from dataclasses import dataclass

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_GET, require_POST

from paas.apps.models import App, Role
from paas.apps.selectors import get_app, hosts
from paas.convergence.models import InstanceState
from paas.dashboard.forms import refusals_shown, text
from paas.dashboard.requests import access_to, current_user
from paas.releases.models import Release, ReleaseKind, ReleaseStatus
from paas.routing import services
from paas.routing.models import DnsState, Domain
from paas.routing.rules import checked_protocol
from paas.routing.selectors import PublicPort, get_public_port, process_types, public_ports, range_words
from runtime.errors import Failure, InvalidInput, NotFound

DNS_WORDS = {
    DnsState.HERE: "leads here",
    DnsState.ELSEWHERE: "leads elsewhere",
    DnsState.MISSING: "no record",
    DnsState.UNKNOWN: "no answer",
}
# A field of the form that a refusal is about; the others stand above all fields.
FIELDS = {
    "unknown_process_type": "process",
    "port_taken": "public_port",
    "port_bound": "public_port",
    "port_of_another_app": "public_port",
}


class TargetForm(forms.Form):
    """Where a public port leads to."""

    process = forms.ChoiceField(label="Process type", widget=forms.Select(attrs={"class": "input-mono"}))
    port = forms.IntegerField(
        label="Port in the app",
        min_value=1,
        max_value=65535,
        widget=forms.NumberInput(attrs={"class": "input-mono input-short"}),
    )

    def __init__(self, *args: object, app: App, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        field = self.fields["process"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(name, name) for name in process_types(app)]


class PortForm(TargetForm):
    protocol = forms.ChoiceField(label="Protocol", choices=[("tcp", "TCP"), ("udp", "UDP")])
    public_port = forms.IntegerField(
        label="Public port",
        required=False,
        min_value=1,
        max_value=65535,
        widget=forms.NumberInput(attrs={"class": "input-mono input-short", "placeholder": "any"}),
    )


class DomainForm(forms.Form):
    name = forms.CharField(label="Domain", max_length=300, widget=text(placeholder="shop.example.com"))


@dataclass(frozen=True, slots=True)
class PortRow:
    port: PublicPort
    state: str


@dataclass(frozen=True, slots=True)
class DomainRow:
    domain: Domain
    state: str


@require_GET
@login_required
def ports(request: HttpRequest, name: str) -> HttpResponse:
    app = get_app(current_user(request), name)
    changing = _named(app, request.GET.get("change", ""))
    form = TargetForm(app=app, initial={"process": changing.process, "port": changing.port}) if changing else None
    return _page(request, app, changing=changing, change_form=form)


@require_POST
@login_required
def add_port(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR)
    form = PortForm(request.POST, app=app)
    if form.is_valid():
        values = form.cleaned_data
        try:
            port, release = services.add_port(app, **values, by=user)
        except Failure as exc:
            _refused(form, exc)
        else:
            public = f"{port}/{values['protocol']}"
            _say(request, f"Port {public} is open", f"Opening port {public}", release)
            return redirect("ports", name=app.name)
    return _page(request, app, form=form, status=422)


@require_POST
@login_required
def change_port(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR)
    changing = _required(app, request.POST.get("public", ""))
    form = TargetForm(request.POST, app=app)
    if form.is_valid():
        try:
            release = services.change_port(app, changing.protocol, changing.public_port, **form.cleaned_data, by=user)
        except Failure as exc:
            _refused(form, exc)
        else:
            if release is None:
                messages.info(request, "Nothing changes: it leads there already.")
            else:
                _say(request, f"Port {changing} is changed", f"Changing port {changing}", release)
            return redirect("ports", name=app.name)
    return _page(request, app, changing=changing, change_form=form, status=422)


@require_POST
@login_required
def remove_port(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR)
    gone = _required(app, request.POST.get("public", ""))
    release = services.remove_port(app, gone.protocol, gone.public_port, by=user)
    _say(request, f"Port {gone} is closed", f"Closing port {gone}", release)
    return redirect("ports", name=app.name)


@require_POST
@login_required
def add_domain(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR)
    form = DomainForm(request.POST)
    if form.is_valid():
        with refusals_shown(form, "name"):
            domain = services.add_domain(app, form.cleaned_data["name"], by=user)
            messages.success(request, f"{app.name} answers at {domain.shown_name}, once DNS leads it here.")
            return redirect("ports", name=app.name)
    return _page(request, app, domain_form=form, status=422)


@require_POST
@login_required
def remove_domain(request: HttpRequest, name: str) -> HttpResponse:
    user = current_user(request)
    app = get_app(user, name, Role.OPERATOR)
    domain = request.POST.get("name", "")
    services.remove_domain(app, domain, by=user)
    messages.success(request, f"{app.name} answers at {domain} no more.")
    return redirect("ports", name=app.name)


@require_POST
@login_required
def check_domains(request: HttpRequest, name: str) -> HttpResponse:
    app = get_app(current_user(request), name, Role.OPERATOR)
    services.request_dns_check(app)
    messages.info(request, "DNS is being asked.")
    return redirect("ports", name=app.name)


def _named(app: App, public: str) -> PublicPort | None:
    """`20001/tcp`; None for anything that is none of the app's."""
    try:
        return _required(app, public)
    except (NotFound, InvalidInput):
        return None


def _required(app: App, public: str) -> PublicPort:
    """Raises `NotFound` and `InvalidInput`."""
    number, _, protocol = public.partition("/")
    if not (number.isascii() and number.isdigit() and len(number) <= 5):
        raise InvalidInput(f"{public[:20]!r} is no public port.", hint="Choose one of the list.", id="invalid_port")
    return get_public_port(app, checked_protocol(protocol), int(number))


def _refused(form: forms.Form, failure: Failure) -> None:
    """Raises it again when it is none of the form's."""
    with refusals_shown(form, FIELDS.get(failure.id, "public_port" if "public_port" in form.fields else "port")):
        raise failure


def _say(request: HttpRequest, done: str, doing: str, release: Release | None) -> None:
    if release is None or release.is_finished:
        messages.success(request, f"{done}.")
    else:
        messages.success(request, f"{doing}: v{release.version} is being released.")


def _page(
    request: HttpRequest,
    app: App,
    *,
    form: PortForm | None = None,
    changing: PublicPort | None = None,
    change_form: TargetForm | None = None,
    domain_form: DomainForm | None = None,
    status: int = 200,
) -> HttpResponse:
    up = set(app.instances.filter(state=InstanceState.UP).values_list("process", flat=True))
    newest = app.releases.first()
    domains = [DomainRow(each, _dns_words(each)) for each in app.domains.all()]
    context = {
        "app": app,
        "access": access_to(app, current_user(request)),
        "ports": [PortRow(each, _port_words(each, up)) for each in public_ports(app)],
        "range": range_words(),
        "failed": newest if newest and _is_failed_change(newest) else None,
        "form": form or PortForm(app=app, initial={"process": "web", "protocol": "tcp"}),
        "changing": changing,
        "change_form": change_form,
        "domains": domains,
        "own_host": hosts(app)[0],
        "domain_form": domain_form or DomainForm(),
        "checked_at": min((row.domain.dns_checked_at for row in domains if row.domain.dns_checked_at), default=None),
        "example": f"paas ports:add 9000 -a {app.name}",
    }
    return render(request, "dashboard/ports.html", context, status=status)


def _is_failed_change(release: Release) -> bool:
    return release.kind == ReleaseKind.PORTS and release.status == ReleaseStatus.FAILED


def _port_words(port: PublicPort, up: set[str]) -> str:
    if not port.is_live:
        return "releasing"
    return "up" if port.process in up else "down"


def _dns_words(domain: Domain) -> str:
    return DNS_WORDS[DnsState(domain.dns_state)] if domain.dns_checked_at else "not asked yet"


urlpatterns = [
    path("apps/<str:name>/ports", ports, name="ports"),
    path("apps/<str:name>/ports/add", add_port, name="ports_add"),
    path("apps/<str:name>/ports/change", change_port, name="ports_change"),
    path("apps/<str:name>/ports/remove", remove_port, name="ports_remove"),
    path("apps/<str:name>/domains/add", add_domain, name="domains_add"),
    path("apps/<str:name>/domains/remove", remove_domain, name="domains_remove"),
    path("apps/<str:name>/domains/check", check_domains, name="domains_check"),
]
