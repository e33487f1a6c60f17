"""Host names of an app: the one below the platform's domain, and its own."""

from __future__ import annotations

from uuid import UUID, uuid5

from ninja import Router
from pydantic import Field

from paas.api.auth import ApiRequest, find_app
from paas.api.errors import missing
from paas.api.ranges import page_of
from paas.api.schemas import Answer, Body, NamedRef, Time, app_ref
from paas.apps.models import App, Role
from paas.apps.selectors import hosts, is_id
from paas.routing.models import DnsState, Domain
from paas.routing.services import add_domain, remove_domain
from runtime.errors import InvalidInput
from runtime.router.document import normal_host

router = Router(tags=["Domains"])


class DomainAnswer(Answer):
    acm_status: str | None
    acm_status_reason: str | None
    app: NamedRef
    cname: str | None
    created_at: Time
    hostname: str
    id: UUID
    kind: str
    sni_endpoint: NamedRef | None
    status: str
    updated_at: Time


class NewDomain(Body):
    hostname: str = Field(max_length=300)
    sni_endpoint: str | None = None


class DomainChange(Body):
    sni_endpoint: str | None = None


def domain_answer(app: App, domain: Domain) -> DomainAnswer:
    return DomainAnswer(
        acm_status=None,
        acm_status_reason=None,
        app=app_ref(app),
        cname=hosts(app)[0],
        created_at=domain.created_at,
        hostname=domain.name,
        id=domain.pk,
        kind="custom",
        sni_endpoint=None,
        # "none": nothing is being worked on, and clients that wait for it go on.
        status="succeeded" if domain.dns_state == DnsState.HERE else "none",
        updated_at=domain.updated_at,
    )


def _own_answer(app: App) -> DomainAnswer:
    """The name that every app has."""
    return DomainAnswer(
        acm_status=None,
        acm_status_reason=None,
        app=app_ref(app),
        cname=None,
        created_at=app.created_at,
        hostname=hosts(app)[0],
        id=uuid5(app.pk, "domain"),
        kind="heroku",
        sni_endpoint=None,
        status="succeeded",
        updated_at=app.created_at,
    )


def _find(app: App, identity: str) -> DomainAnswer:
    own = _own_answer(app)
    if identity.lower() in {own.hostname, str(own.id)}:
        return own
    return domain_answer(app, _row(app, identity))


def _row(app: App, identity: str) -> Domain:
    found = app.domains.filter(pk=identity).first() if is_id(identity) else None
    if found is None:
        try:
            found = app.domains.filter(name=normal_host(identity)).first()
        except InvalidInput:
            found = None
    if found is None:
        raise missing("domain")
    return found


@router.get("/apps/{identity}/domains", response=list[DomainAnswer])
def list_domains(request: ApiRequest, identity: str) -> list[DomainAnswer]:
    app = find_app(request, identity)
    answers = [_own_answer(app), *(domain_answer(app, each) for each in app.domains.all())]
    return page_of(request, answers, ordered_by="hostname", id=lambda each: each.id, hostname=lambda each: each.hostname)


@router.post("/apps/{identity}/domains", response={201: DomainAnswer})
def create_domain(request: ApiRequest, identity: str, body: NewDomain) -> DomainAnswer:
    app = find_app(request, identity, Role.OPERATOR)
    _check_certificate(body.sni_endpoint)
    return domain_answer(app, add_domain(app, body.hostname, by=request.user))


@router.get("/apps/{identity}/domains/{domain}", response=DomainAnswer)
def domain_info(request: ApiRequest, identity: str, domain: str) -> DomainAnswer:
    return _find(find_app(request, identity), domain)


@router.patch("/apps/{identity}/domains/{domain}", response=DomainAnswer)
def update_domain(request: ApiRequest, identity: str, domain: str, body: DomainChange) -> DomainAnswer:
    found = _find(find_app(request, identity, Role.OPERATOR), domain)
    _check_certificate(body.sni_endpoint)
    return found


@router.delete("/apps/{identity}/domains/{domain}", response=DomainAnswer)
def delete_domain(request: ApiRequest, identity: str, domain: str) -> DomainAnswer:
    app = find_app(request, identity, Role.OPERATOR)
    found = _find(app, domain)
    if found.kind != "custom":
        raise InvalidInput(
            f"{found.hostname} is the name that {app.name} has from the platform.",
            hint="Domains of your own can be removed.",
            id="reserved_domain",
        )
    remove_domain(app, found.hostname, by=request.user)
    return found


def _check_certificate(sni_endpoint: str | None) -> None:
    if sni_endpoint is not None:
        raise missing("sni_endpoint")
