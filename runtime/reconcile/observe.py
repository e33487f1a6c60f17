"""What is true: containers, networks and routes as the engine and the router tell them, sorted by app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from runtime.engine.api import Container, Engine, Network, State
from runtime.reconcile import spec
from runtime.router.api import Binding, PortProtocol, PublicPort, Route, Router

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0
STEADY_SECONDS = 600.0  # up for so long, an instance's earlier crashes are forgotten


BoundEndpoint = tuple[PortProtocol, str]  # the latter is "ip:port"


@dataclass(frozen=True, slots=True)
class Instance:
    """One container of ours, with its labels read."""

    container: Container
    process: str
    index: int
    release: int
    fingerprint: str
    epoch: int
    port: int
    grace_seconds: int
    bound: Sequence[tuple[PortProtocol, int]] = ()

    @property
    def name(self) -> str:
        return f"{self.process}.{self.index}"

    @property
    def is_running(self) -> bool:
        return self.container.state is State.RUNNING

    @property
    def endpoint(self) -> str:
        """ "ip:port" as it stands in a route, "" when it gets no traffic."""
        return f"{self.container.address}:{self.port}" if self.port and self.container.address else ""

    @property
    def bound_endpoints(self) -> Sequence[BoundEndpoint]:
        """Where public ports may lead to."""
        address = self.container.address
        return [(protocol, f"{address}:{port}") for protocol, port in self.bound] if address else []


@dataclass(frozen=True, slots=True)
class InstanceMemory:
    """What has to be remembered of `web.1` between two looks. The caller stores it; `plan` returns the next one."""

    version: str = ""  # fingerprint and restart epoch it is about; for any other it is forgotten
    crashes: int = 0  # in a row
    container_id: str = ""  # whose end was counted last
    not_before: datetime | None = None  # it is not started again earlier


def remember_crash(
    memory: InstanceMemory, *, version: str, container_id: str = "", up_seconds: float = 0.0, at: datetime
) -> InstanceMemory:
    """One more: the pause doubles from 1 s to 5 min. Also for an instance that never became healthy (no container)."""
    steady = memory.version != version or up_seconds >= STEADY_SECONDS
    crashes = 1 if steady else memory.crashes + 1
    pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(crashes - 1, 16))
    return InstanceMemory(version, crashes, container_id, at + timedelta(seconds=pause))


@dataclass(frozen=True, slots=True)
class Observed:
    """One app as it is."""

    instances: Sequence[Instance] = ()
    route: Route | None = None
    bindings: Mapping[PublicPort, Binding] = field(default_factory=dict)
    network: Network | None = None
    memory: Mapping[str, InstanceMemory] = field(default_factory=dict)  # by instance: "web.1"
    retiring: Mapping[str, datetime] = field(default_factory=dict)  # container id -> until when somebody drains it
    taken_addresses: frozenset[str] = frozenset()  # by any container in the app's network


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything of ours on the engine, from one list of containers, one of networks, and the router's table."""

    instances: Mapping[str, Sequence[Instance]]  # by app id
    others: Sequence[Container]  # ours, but looked after by somebody else: release commands, one-off runs, builds
    networks: Mapping[str, Network]  # by name
    routes: Mapping[str, Route]  # by app
    bindings: Mapping[PublicPort, Binding]
    addresses: Mapping[str, frozenset[str]]  # by app id

    @property
    def app_ids(self) -> frozenset[str]:
        """Apps with containers or networks, also those nobody wants any more."""
        named = (network.labels.get(spec.APP_ID, "") for network in self.networks.values())
        return frozenset(self.instances) | frozenset(name for name in named if name)

    def of(
        self,
        desired: spec.AppSpec,
        *,
        memory: Mapping[str, InstanceMemory] | None = None,
        retiring: Mapping[str, datetime] | None = None,
    ) -> Observed:
        return Observed(
            instances=self.instances.get(desired.app_id, ()),
            route=self.routes.get(desired.app),
            bindings={key: binding for key, binding in self.bindings.items() if binding.app == desired.app},
            network=self.networks.get(desired.network),
            memory=memory or {},
            retiring=retiring or {},
            taken_addresses=self.addresses.get(desired.app_id, frozenset()),
        )


def observe(engine: Engine, router: Router, *, home: str, app_id: str = "") -> Observation:
    """All apps of this home, or one of them: the number of engine calls is the same."""
    labels = {spec.HOME: home}
    if app_id:
        labels[spec.APP_ID] = app_id
    instances: dict[str, list[Instance]] = {}
    others: list[Container] = []
    addresses: dict[str, set[str]] = {}
    for container in engine.list(labels):
        owner = container.labels.get(spec.APP_ID, "")
        if container.address:
            addresses.setdefault(owner, set()).add(container.address)
        if container.labels.get(spec.KIND) == spec.INSTANCE:
            instances.setdefault(owner, []).append(read_instance(container))
        else:
            others.append(container)
    networks = {each.name: each for each in engine.list_networks([spec.HOME]) if each.labels.get(spec.HOME) == home}
    return Observation(
        instances=instances,
        others=others,
        networks=networks,
        routes=router.table(),
        bindings=router.bindings(),
        addresses={owner: frozenset(each) for owner, each in addresses.items()},
    )


def read_instance(container: Container) -> Instance:
    labels = container.labels
    return Instance(
        container=container,
        process=labels.get(spec.PROCESS, ""),
        index=_number(labels.get(spec.INDEX)),
        release=_number(labels.get(spec.RELEASE)),
        fingerprint=labels.get(spec.SPEC, ""),
        epoch=_number(labels.get(spec.EPOCH)),
        port=_number(labels.get(spec.PORT)),
        grace_seconds=_number(labels.get(spec.GRACE, "30")),
        bound=_bound(labels.get(spec.BOUND, "")),
    )


def _bound(text: str) -> Sequence[tuple[PortProtocol, int]]:
    pairs = (each.partition("/") for each in text.split(",") if each)
    return tuple((PortProtocol(name), int(port)) for name, _, port in pairs if name in {"tcp", "udp"} and port.isdigit())


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
