"""Public TCP and UDP ports, and where DNS leads an app's domains."""

from __future__ import annotations

from ninja import Router

from paas.api.auth import ApiRequest, find_app
from paas.api.platform.releases import ReleaseDetails, details_of
from paas.api.ranges import page, page_of
from paas.api.schemas import Answer, Body, Time
from paas.apps.models import App, Role
from paas.routing import services
from paas.routing.rules import checked_protocol
from paas.routing.selectors import PublicPort, get_public_port, public_ports

router = Router(tags=["Ports and domains"])


class PortAnswer(Answer):
    public_port: int
    protocol: str
    address: str
    process: str
    port: int
    variable: str
    live: bool


class ChangedPortAnswer(PortAnswer):
    release: ReleaseDetails | None


class NewPort(Body):
    port: int
    process: str = "web"
    protocol: str = "tcp"
    public_port: int | None = None


class PortChange(Body):
    port: int | None = None
    process: str | None = None


class DomainCheckAnswer(Answer):
    hostname: str
    dns: str
    addresses: list[str]
    checked_at: Time | None


def _values(each: PublicPort) -> dict[str, object]:
    return {
        "public_port": each.public_port,
        "protocol": each.protocol.value,
        "address": each.address,
        "process": each.process,
        "port": each.port,
        "variable": each.variable,
        "live": each.is_live,
    }


def _changed(each: PublicPort, release: ReleaseDetails | None) -> ChangedPortAnswer:
    return ChangedPortAnswer.model_validate({**_values(each), "release": release})


def _shown(app: App, protocol: str, public_port: int) -> PublicPort:
    return get_public_port(app, checked_protocol(protocol), public_port)


@router.get("/apps/{identity}/ports", response=list[PortAnswer])
def list_ports(request: ApiRequest, identity: str) -> list[PortAnswer]:
    """`variable`: by which the app is told. `live`: whether it leads there already."""
    ports = public_ports(find_app(request, identity))
    shown = page_of(request, ports, public_port=lambda each: f"{each.public_port:05d}/{each.protocol}")
    return [PortAnswer.model_validate(_values(each)) for each in shown]


@router.post("/apps/{identity}/ports", response={201: ChangedPortAnswer})
def create_port(request: ApiRequest, identity: str, body: NewPort) -> ChangedPortAnswer:
    """Lead a public port, or a free one of the platform's range, to a port of a process type."""
    app = find_app(request, identity, Role.OPERATOR)
    chosen, release = services.add_port(
        app,
        process=body.process,
        port=body.port,
        protocol=body.protocol,
        public_port=body.public_port,
        by=request.user,
    )
    return _changed(_shown(app, body.protocol, chosen), details_of(app, release))


@router.get("/apps/{identity}/ports/{protocol}/{public_port}", response=PortAnswer)
def port_info(request: ApiRequest, identity: str, protocol: str, public_port: int) -> PortAnswer:
    return PortAnswer.model_validate(_values(_shown(find_app(request, identity), protocol, public_port)))


@router.patch("/apps/{identity}/ports/{protocol}/{public_port}", response=ChangedPortAnswer)
def update_port(
    request: ApiRequest, identity: str, protocol: str, public_port: int, body: PortChange
) -> ChangedPortAnswer:
    app = find_app(request, identity, Role.OPERATOR)
    before = _shown(app, protocol, public_port)
    release = services.change_port(
        app,
        before.protocol,
        public_port,
        process=before.process if body.process is None else body.process,
        port=before.port if body.port is None else body.port,
        by=request.user,
    )
    return _changed(_shown(app, protocol, public_port), details_of(app, release))


@router.delete("/apps/{identity}/ports/{protocol}/{public_port}", response=ChangedPortAnswer)
def delete_port(request: ApiRequest, identity: str, protocol: str, public_port: int) -> ChangedPortAnswer:
    app = find_app(request, identity, Role.OPERATOR)
    shown = _shown(app, protocol, public_port)
    release = services.remove_port(app, shown.protocol, public_port, by=request.user)
    return _changed(shown, details_of(app, release))


@router.get("/apps/{identity}/domain-checks", response=list[DomainCheckAnswer])
def check_domains(request: ApiRequest, identity: str) -> list[DomainCheckAnswer]:
    """Asks the domain name system where each of the app's own domains leads, which may take some seconds."""
    app = find_app(request, identity)
    services.check_domains(app)
    return [
        DomainCheckAnswer(
            hostname=each.name, dns=each.dns_state, addresses=list(each.dns_addresses), checked_at=each.dns_checked_at
        )
        for each in page(request, app.domains.all(), ordered_by="hostname", hostname="name")
    ]
