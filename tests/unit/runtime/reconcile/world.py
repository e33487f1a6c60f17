"""Small apps and what is seen of them, for tests of plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from runtime.engine.api import Container, Network, State
from runtime.reconcile import spec as labels
from runtime.reconcile.observe import Observed, read_instance
from runtime.reconcile.plan import Plan, SwitchRoute, plan
from runtime.reconcile.spec import AppSpec, BoundPort, CheckKind, HealthCheck, ProcessSpec
from runtime.router.api import Binding, PortProtocol, PublicPort, Route, RouteState

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SUBNET = "10.210.0.0/28"
HOSTS = ("hello.example",)


def web(release: int = 7, quantity: int = 1, **fields: object) -> ProcessSpec:
    values: dict[str, object] = {
        "process": "web",
        "quantity": quantity,
        "image": f"127.0.0.1:5000/apps/a1@sha256:{release:064x}",
        "command": ("start", "web"),
        "environment": {"PORT": "8000"},
        "release": release,
        "port": 8000,
        "health": HealthCheck(CheckKind.TCP),
    }
    return ProcessSpec(**{**values, **fields})  # type: ignore[arg-type]


def worker(release: int = 7, quantity: int = 1, **fields: object) -> ProcessSpec:
    values: dict[str, object] = {
        "process": "worker",
        "environment": {},
        "port": 0,
        "command": ("start", "worker"),
        "health": HealthCheck(CheckKind.UPTIME, uptime_seconds=3),
    }
    return web(release, quantity, **{**values, **fields})


def tcp(port: int, public_port: int) -> BoundPort:
    return BoundPort(PortProtocol.TCP, port, "0.0.0.0", public_port)


def udp(port: int, public_port: int) -> BoundPort:
    return BoundPort(PortProtocol.UDP, port, "0.0.0.0", public_port)


def app(*processes: ProcessSpec, **fields: object) -> AppSpec:
    values: dict[str, object] = {
        "app": "hello",
        "app_id": "a1",
        "release": max((each.release for each in processes), default=0),
        "processes": processes,
        "hosts": HOSTS,
        "network": "paas-hello",
        "subnet": SUBNET,
    }
    return AppSpec(**{**values, **fields})  # type: ignore[arg-type]


class World:
    """What an engine and a router would say after a history told in a test."""

    def __init__(self) -> None:
        self.containers: list[Container] = []
        self.route: Route | None = None
        self.bindings: dict[PublicPort, Binding] = {}
        self.network: Network | None = Network("n1", "paas-hello", SUBNET, {})
        self.memory: Mapping[str, object] = {}
        self.retiring: dict[str, datetime] = {}
        self.now = NOW
        self.made = 0

    def has(self, spec: ProcessSpec, index: int = 1, *, epoch: int = 0, host: int = 0, **fields: object) -> str:
        container_id = f"{spec.process}.{index}-v{spec.release}-{self.made}"
        self.made += 1
        carried = {
            labels.KIND: labels.INSTANCE,
            labels.PROCESS: spec.process,
            labels.INDEX: str(index),
            labels.RELEASE: str(spec.release),
            labels.SPEC: spec.fingerprint(),
            labels.EPOCH: str(epoch),
            labels.PORT: str(spec.port),
            labels.GRACE: "30",
            labels.BOUND: ",".join(f"{each.protocol}/{each.port}" for each in spec.bound),
        }
        container = Container(
            id=container_id,
            name=container_id,
            image=spec.image,
            labels=carried,
            state=State.RUNNING,
            address=f"10.210.0.{host or len(self.containers) + 2}",
            created_at=NOW - timedelta(hours=1),
            started_at=NOW - timedelta(hours=1),
        )
        self.containers.append(replace(container, **fields))  # type: ignore[arg-type]
        return container_id

    def had(
        self, spec: ProcessSpec, index: int = 1, *, ago: float = 12, up: float = 60, code: int = 1, **fields: object
    ) -> str:
        """One that ended by itself."""
        ended = self.now - timedelta(seconds=ago)
        return self.has(
            spec,
            index,
            state=State.EXITED,
            exit_code=code,
            finished_at=ended,
            started_at=ended - timedelta(seconds=up),
            **fields,  # type: ignore[arg-type]
        )

    def routes(self, *hosts: int, state: RouteState = RouteState.UP) -> None:
        self.route = Route("hello", HOSTS, state, tuple(f"10.210.0.{host}:8000" for host in hosts))

    def binds(self, bound: BoundPort, *hosts: int) -> None:
        addresses = tuple(f"10.210.0.{host}:{bound.port}" for host in hosts)
        self.bindings[bound.key] = Binding("hello", bound.protocol, bound.public_port, addresses)

    def ends(self, container_id: str, *, code: int = 1) -> None:
        self.containers = [
            replace(each, state=State.EXITED, exit_code=code, finished_at=self.now) if each.id == container_id else each
            for each in self.containers
        ]

    def observed(self) -> Observed:
        return Observed(
            instances=[read_instance(each) for each in self.containers],
            route=self.route,
            bindings=self.bindings,
            network=self.network,
            memory=self.memory,  # type: ignore[arg-type]
            retiring=self.retiring,
        )

    def plan(self, desired: AppSpec) -> Plan:
        made = plan(desired, self.observed(), now=self.now)
        self.memory = made.memory
        return made


def lines(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())


def final_route(made: Plan) -> Sequence[str]:
    routes = [step.route for step in made.steps if isinstance(step, SwitchRoute)]
    return routes[-1].addresses
