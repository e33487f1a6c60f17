"""Where an app can be reached."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from paas.apps import selectors as apps
from paas.apps.models import App
from paas.releases.models import PortBinding
from paas.releases.selectors import current_release, wished_release
from paas.routing.models import Domain
from runtime.errors import NotFound
from runtime.router.api import PortProtocol

ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - written down: every address that the router listens on


@dataclass(frozen=True, slots=True)
class PublicPort:
    """A public port as the wished release has it."""

    process: str
    port: int
    protocol: PortProtocol
    public_port: int
    address: str  # hello.apps.example.com:20001
    is_live: bool  # the current release has it as well

    @property
    def variable(self) -> str:
        """By which the app is told."""
        return f"PAAS_{self.protocol.upper()}_{self.port}"

    def __str__(self) -> str:
        return f"{self.public_port}/{self.protocol}"


def hosts(app: App) -> list[str]:
    """The name below the platform's domain first."""
    return [*apps.hosts(app), *(domain.name for domain in app.domains.all())]


def public_ports(app: App) -> list[PublicPort]:
    current, wished = current_release(app), wished_release(app)
    live = list(current.ports) if current else []
    ports = [
        PublicPort(
            process=row["process"],
            port=row["port"],
            protocol=PortProtocol(row["protocol"]),
            public_port=row["public_port"],
            address=public_address(app, row["public_port"]),
            is_live=row in live,
        )
        for row in (wished.ports if wished else ())
        if row["protocol"] in {"tcp", "udp"}
    ]
    return sorted(ports, key=lambda each: (each.public_port, each.protocol))


def public_address(app: App, public_port: int) -> str:
    return f"{apps.hosts(app)[0]}:{public_port}"


def get_public_port(app: App, protocol: PortProtocol, public_port: int) -> PublicPort:
    """Raises `NotFound`."""
    for each in public_ports(app):
        if (each.protocol, each.public_port) == (protocol, public_port):
            return each
    raise NotFound(
        f"{app.name} has no public port {public_port}/{protocol}.",
        hint=f"See them with: paas ports -a {app.name}",
        id="port_not_found",
    )


def process_types(app: App) -> list[str]:
    """Which a public port may lead to."""
    release = wished_release(app)
    return sorted(release.process_types) if release and release.process_types else ["web"]


def range_words() -> str:
    """`20000 to 20199`; "" when no ports are served."""
    span = settings.ENV.port_range
    return f"{span[0]} to {span[1]}" if span else ""


def free_public_ports(protocol: PortProtocol) -> list[int]:
    """Of the platform's range, those that no app has."""
    span = settings.ENV.port_range
    if span is None:
        return []
    rows = PortBinding.objects.filter(public_port__range=span)
    if protocol is PortProtocol.UDP:
        rows = rows.filter(protocol="udp")
    else:
        rows = rows.exclude(protocol="udp")
    taken = set(rows.values_list("public_port", flat=True))
    return [port for port in range(span[0], span[1] + 1) if port not in taken]


def get_domain(app: App, name: str) -> Domain:
    """Raises `NotFound`."""
    domain = app.domains.filter(name=name).first()
    if domain is None:
        raise NotFound(
            f"{app.name} has no domain {name[:100]!r}.",
            hint=f"See them with: paas domains -a {app.name}",
            id="domain_not_found",
        )
    return domain
