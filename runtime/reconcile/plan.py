"""From what should be and what is to the steps between. Pure: no engine, no router, no clock.

The order is the same every time, over all process types: network, start the new, wait until each is healthy, switch the
route and the public ports, retire the old. So whatever fails before the switch leaves the old ones serving, and none of
the steps depends on how far an earlier attempt got before it died.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta

from runtime.engine.api import State
from runtime.errors import PlatformError
from runtime.reconcile.observe import BoundEndpoint, Instance, InstanceMemory, Observed, remember_crash
from runtime.reconcile.spec import AppSpec, BoundPort, CheckKind, ProcessSpec, RouteSetting
from runtime.router.api import Binding, PortProtocol, Route, RouteState


@dataclass(frozen=True, slots=True)
class EnsureNetwork:
    app: str
    app_id: str
    name: str
    subnet: str

    def __str__(self) -> str:
        return f"network {self.app}: create {self.subnet}"


@dataclass(frozen=True, slots=True)
class Start:
    app: str
    app_id: str
    spec: ProcessSpec
    index: int
    network: str
    address: str
    epoch: int
    reason: str
    recovers: bool = False  # it was live before: when it fails again, it ends as a crashed one, and the rest goes on

    @property
    def instance(self) -> str:
        return f"{self.spec.process}.{self.index}"

    def __str__(self) -> str:
        return f"start {self.instance}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Wait:
    instance: str
    spec: ProcessSpec
    address: str
    host: str  # what an HTTP check asks for
    container_id: str = ""  # "" = the one just started
    recovers: bool = False

    def __str__(self) -> str:
        return f"wait {self.instance}: {describe_check(self.spec)}"


@dataclass(frozen=True, slots=True)
class SwitchRoute:
    route: Route
    instances: Sequence[str]

    def __str__(self) -> str:
        match self.route.state:
            case RouteState.MAINTENANCE:
                target = "maintenance page"
            case RouteState.DOWN:
                target = "page that nothing runs"
            case RouteState.STOPPED:
                target = "page that it is stopped"
            case _:
                target = ", ".join(self.instances)
        return f"route {self.route.app}: {target}"


@dataclass(frozen=True, slots=True)
class Bind:
    bound: BoundPort
    binding: Binding
    instances: Sequence[str]

    def __str__(self) -> str:
        targets = ", ".join(f"{name}:{self.bound.port}" for name in self.instances)
        return f"bind {self.bound}: {targets or 'nothing runs'}"


@dataclass(frozen=True, slots=True)
class Unbind:
    protocol: PortProtocol
    port: int

    def __str__(self) -> str:
        return f"unbind {self.protocol} {self.port}"


@dataclass(frozen=True, slots=True)
class Retire:
    """Wait until nothing is in flight to it, stop it, remove it. May be done in the background."""

    container_id: str
    app: str
    instance: str
    release: int
    endpoint: str  # "" = no HTTP traffic
    grace_seconds: int
    reason: str
    bound: Sequence[BoundEndpoint] = ()

    def __str__(self) -> str:
        verb = "drain and stop" if self.endpoint or self.bound else "stop"
        return f"{verb} {self.instance} of v{self.release}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Remove:
    container_id: str
    instance: str
    reason: str

    def __str__(self) -> str:
        return f"remove {self.instance}: {self.reason}"


@dataclass(frozen=True, slots=True)
class RemoveRoute:
    app: str

    def __str__(self) -> str:
        return f"route {self.app}: remove"


@dataclass(frozen=True, slots=True)
class RemoveNetwork:
    app: str
    name: str

    def __str__(self) -> str:
        return f"network {self.app}: remove"


Step = EnsureNetwork | Start | Wait | SwitchRoute | Bind | Unbind | Retire | Remove | RemoveRoute | RemoveNetwork


@dataclass(frozen=True, slots=True)
class Plan:
    app: str
    steps: Sequence[Step] = ()
    notes: Sequence[str] = ()  # what is not done now, and why
    memory: Mapping[str, InstanceMemory] = field(default_factory=dict)  # to be stored in place of the observed one
    look_again_at: datetime | None = None  # something becomes due then

    def __bool__(self) -> bool:
        return bool(self.steps)

    def __str__(self) -> str:
        return "\n".join([*(str(step) for step in self.steps), *self.notes])

    def retired(self) -> Iterator[Retire]:
        return (step for step in self.steps if isinstance(step, Retire))


def describe_check(spec: ProcessSpec) -> str:
    check = spec.health
    port = check.port or spec.port
    match check.kind:
        case CheckKind.TCP:
            return f"TCP {port}"
        case CheckKind.HTTP:
            return f"HTTP {check.path or '/'} on {port}"
        case CheckKind.UPTIME:
            return f"up for {check.uptime_seconds:g} s"
        case CheckKind.IMAGE:
            return "the image's health check"


def plan(desired: AppSpec, observed: Observed, *, now: datetime) -> Plan:
    return _Planner(desired, observed, now).plan()


class _Planner:
    """Holds the lists that the sections of one plan fill."""

    def __init__(self, desired: AppSpec, observed: Observed, now: datetime) -> None:
        self.desired = desired
        self.observed = observed
        self.now = now
        self.memory: dict[str, InstanceMemory] = {}
        self.notes: list[str] = []
        self.due: list[datetime] = []
        self.kept: list[Instance] = []
        self.starts: list[Start] = []
        self.removes: list[Remove] = []
        self.retires: list[Retire] = []
        self.handled: set[str] = set()  # containers that stay, or whose fate is decided
        self.taken = {each.container.address for each in observed.instances} | observed.taken_addresses
        self.specs = {spec.process: spec for spec in desired.processes}
        self.fingerprints = {spec.process: spec.fingerprint() for spec in desired.processes}
        self.living: list[Instance] = []  # without those that somebody is retiring at this moment
        for each in observed.instances:
            deadline = observed.retiring.get(each.container.id)
            if deadline is None or deadline <= now:
                self.living.append(each)
            else:
                self.due.append(deadline)
        # Whether old ones serve while new ones take their place: then a failure must leave everything as it was.
        self.replacing = any(
            each.is_running and each.process in self.specs and not self._is_right(each) for each in self.living
        )
        self.blocked = False

    def plan(self) -> Plan:
        if self.desired.deleted:
            return self._farewell()
        for spec in self.desired.processes:
            for index in range(1, spec.quantity + 1):
                self._decide(spec, index)
        self._part_with_the_rest()
        before, after = self._switches()
        waits = self._waits()
        steps: list[Step] = []
        if self.blocked:
            return Plan(self.desired.app, before, self.notes, self.memory, min(self.due, default=None))
        if self.starts and self.desired.network and self.observed.network is None:
            desired = self.desired
            steps.append(EnsureNetwork(desired.app, desired.app_id, desired.network, desired.subnet))
        steps += before
        steps += self.starts
        steps += waits
        steps += after
        steps += self.retires
        steps += self.removes
        return Plan(self.desired.app, steps, self.notes, self.memory, min(self.due, default=None))

    # ------------------------------------------------------------ instance by instance

    def _decide(self, spec: ProcessSpec, index: int) -> None:
        """Keep the one that is right, or start it, or leave it alone until its pause is over."""
        name = f"{spec.process}.{index}"
        version = f"{self.fingerprints[spec.process]}/{self.desired.epoch_of(spec.process, index)}"
        mine = [each for each in self.living if each.name == name]
        right = [each for each in mine if self._is_right(each)]
        running = sorted((each for each in right if each.is_running), key=self._preference)
        memory = self.observed.memory.get(name)
        if memory is not None and memory.version == version:
            self.memory[name] = memory
        if running:
            self.kept.append(running[0])
            self.handled.add(running[0].container.id)
            return
        ended = [each for each in right if each.container.state is State.EXITED]
        if ended:
            self._restart(spec, index, version, max(ended, key=_ended_at))
            return
        held = self.memory.get(name)
        if held is not None and held.not_before is not None and held.not_before > self.now:
            self._hold(name, held)  # it failed to boot and nothing is left of it
            self.blocked = self.blocked or self.replacing
            return
        self._start(spec, index, self._reason(spec, mine))

    def _restart(self, spec: ProcessSpec, index: int, version: str, ended: Instance) -> None:
        name = ended.name
        container = ended.container
        memory = self.memory.get(name, InstanceMemory())
        if memory.container_id != container.id:
            at = container.finished_at or self.now
            up = (at - container.started_at).total_seconds() if container.started_at else 0.0
            memory = remember_crash(memory, version=version, container_id=container.id, up_seconds=up, at=at)
            self.memory[name] = memory
        if memory.not_before is not None and memory.not_before > self.now and not self.replacing:
            self.handled.add(container.id)  # it stays, so that its end and its log can be looked at
            self._hold(name, memory)
            return
        self._start(spec, index, self._how_it_ended(ended), recovers=not self.replacing)

    def _hold(self, name: str, memory: InstanceMemory) -> None:
        assert memory.not_before is not None
        self.due.append(memory.not_before)
        times = "once" if memory.crashes == 1 else f"{memory.crashes} times in a row"
        self.notes.append(f"hold {name}: crashed {times}, starts again in {_span(memory.not_before - self.now)}")

    def _start(self, spec: ProcessSpec, index: int, reason: str, *, recovers: bool = False) -> None:
        self.starts.append(
            Start(
                app=self.desired.app,
                app_id=self.desired.app_id,
                spec=spec,
                index=index,
                network=self.desired.network,
                address=self._free_address(),
                epoch=self.desired.epoch_of(spec.process, index),
                reason=reason,
                recovers=recovers,
            )
        )

    def _reason(self, spec: ProcessSpec, mine: Sequence[Instance]) -> str:
        if any(each.release != spec.release for each in mine):
            return f"release v{spec.release}"
        if any(each.fingerprint != self.fingerprints[spec.process] for each in mine):
            return "settings changed"
        if any(each.epoch < self.desired.epoch_of(each.process, each.index) for each in mine):
            return "restart"
        if mine:
            return "was never started" if mine[0].container.state is State.CREATED else f"was {mine[0].container.state}"
        same = [each for each in self.living if each.process == spec.process and self._is_right(each)]
        return f"scaled to {spec.quantity}" if same else f"release v{spec.release}"

    def _how_it_ended(self, instance: Instance) -> str:
        container = instance.container
        ago = _span(self.now - (container.finished_at or self.now))
        if container.oom_killed:
            return f"ran out of memory {ago} ago"
        verb = "crashed" if container.exit_code else "ended"
        return f"{verb} {ago} ago, exit {container.exit_code}"

    # ------------------------------------------------------------ everybody else

    def _part_with_the_rest(self) -> None:
        for each in self.living:
            if each.container.id in self.handled:
                continue
            if not each.is_running:
                self._remove(each)
                continue
            spec = self.specs.get(each.process)
            if self.desired.stopped:
                reason = "app stopped"
            elif spec is None:
                reason = "no longer wanted"
            elif not self._is_right(each):
                reason = "replaced"
            elif each.index > spec.quantity:
                reason = f"scaled to {spec.quantity}"
            else:
                reason = "runs twice"
            self._retire(each, reason)

    def _remove(self, each: Instance) -> None:
        match each.container.state:
            case State.CREATED:
                reason = "never started"
            case State.EXITED:
                reason = "exited"
            case state:
                reason = state.value
        self.removes.append(Remove(each.container.id, each.name, reason))

    def _retire(self, each: Instance, reason: str) -> None:
        self.retires.append(
            Retire(
                container_id=each.container.id,
                app=self.desired.app,
                instance=each.name,
                release=each.release,
                endpoint=each.endpoint,
                grace_seconds=each.grace_seconds,
                reason=reason,
                bound=each.bound_endpoints,
            )
        )

    # ------------------------------------------------------------ the route and the public ports

    def _switches(self) -> tuple[list[Step], list[Step]]:
        """Some at once, which take instances out that are no longer there, and some for when the new are healthy."""
        route_before, route_after = self._routes()
        ports_before, new_ports, ports_after = self._ports()
        before = [*([route_before] if route_before else []), *ports_before]
        return before, [*new_ports, *([route_after] if route_after else []), *ports_after]

    def _ports(self) -> tuple[list[Step], list[Step], list[Step]]:
        """Those at once; those that were not bound before: they come before anything is switched, since another process
        may have the port; and the rest."""
        serving = [(each.process, each.index, each.name, each.container.address) for each in self.kept]
        serving += [(each.spec.process, each.index, each.instance, each.address) for each in self.starts]
        serving.sort(key=lambda item: item[1])
        alive = {each.container.address: each.name for each in self.observed.instances if each.is_running}
        current = dict(self.observed.bindings)
        before: list[Step] = []
        new: list[Step] = []
        after: list[Step] = []
        wanted = [(spec, bound) for spec in self.desired.processes for bound in spec.bound]
        for spec, bound in wanted:
            final = [(name, address) for process, _, name, address in serving if process == spec.process]
            binding = current.get(bound.key)
            if binding is not None and (self.starts or self.blocked):
                left = [each for each in binding.addresses if _ip(each) in alive]
                if len(left) != len(binding.addresses):
                    current[bound.key] = binding = replace(binding, addresses=tuple(left))
                    before.append(Bind(bound, binding, [alive[_ip(each)] for each in left]))
            addresses = tuple(f"{address}:{bound.port}" for _, address in final)
            if binding is None or tuple(binding.addresses) != addresses:
                made = Binding(self.desired.app, bound.protocol, bound.public_port, addresses)
                (new if binding is None else after).append(Bind(bound, made, [name for name, _ in final]))
        keys = {bound.key for _, bound in wanted}
        after += [Unbind(*key) for key in sorted(self.observed.bindings) if key not in keys]
        return before, new, after

    def _routes(self) -> tuple[SwitchRoute | None, SwitchRoute | None]:
        observed = self.observed.route
        serving = [(each.name, each.endpoint) for each in self.kept if each.endpoint]
        serving += [(each.instance, f"{each.address}:{each.spec.port}") for each in self.starts if each.spec.port]
        order = {f"{spec.process}.{i}": i for spec in self.desired.processes for i in range(1, spec.quantity + 1)}
        serving.sort(key=lambda item: order.get(item[0], 0))
        final = self._route([address for _, address in serving])
        before = None
        current = observed
        if observed is not None and (self.starts or self.blocked):
            alive = {each.endpoint: each.name for each in self.observed.instances if each.is_running}
            left = [address for address in observed.addresses if address in alive]
            if len(left) != len(observed.addresses):
                route = self._route(left)
                before = SwitchRoute(route, [alive[address] for address in left])
                current = route
        if current is not None and _same(current, final):
            return before, None
        return before, SwitchRoute(final, [name for name, _ in serving])

    def _route(self, addresses: Sequence[str]) -> Route:
        settings = self.desired.settings
        if self.desired.maintenance:
            state = RouteState.MAINTENANCE
        elif self.desired.stopped:
            state = RouteState.STOPPED
        else:
            state = RouteState.UP if addresses else RouteState.DOWN
        return Route(
            app=self.desired.app,
            hosts=tuple(dict.fromkeys(self.desired.hosts)),
            state=state,
            page=self.desired.maintenance_page if self.desired.maintenance else "",
            addresses=tuple(addresses),
            timeout_seconds=int(settings.get(RouteSetting.TIMEOUT_SECONDS, "60")),
            max_body_bytes=int(settings.get(RouteSetting.MAX_BODY_BYTES, "0")),
            force_https=settings.get(RouteSetting.FORCE_HTTPS) == "true",
        )

    def _waits(self) -> list[Wait]:
        """For the new, and for those whose start an earlier attempt did not live to see through."""
        routed = set(self.observed.route.addresses) if self.observed.route else set()
        bound = {address for binding in self.observed.bindings.values() for address in binding.addresses}
        replaced = {each.instance.partition(".")[0] for each in self.retires}
        host = self.desired.hosts[0].removeprefix("*.") if self.desired.hosts else ""
        waits = []
        for each in self.kept:
            ends = {address for _, address in each.bound_endpoints}
            if each.endpoint or ends:
                is_on_trial = (each.endpoint and each.endpoint not in routed) or not ends <= bound
            else:
                is_on_trial = self.replacing and each.process in replaced
            if is_on_trial:
                spec, container = self.specs[each.process], each.container
                waits.append(Wait(each.name, spec, container.address, host, container.id, not self.replacing))
        waits += [Wait(each.instance, each.spec, each.address, host, recovers=each.recovers) for each in self.starts]
        return waits

    # ------------------------------------------------------------ small questions

    def _is_right(self, each: Instance) -> bool:
        return each.fingerprint == self.fingerprints.get(each.process) and each.epoch >= self.desired.epoch_of(
            each.process, each.index
        )

    def _preference(self, each: Instance) -> tuple[bool, datetime]:
        """Of two that run as the same instance: the one with traffic, else the older."""
        routed = self.observed.route is not None and each.endpoint in self.observed.route.addresses
        return not routed, each.container.created_at or self.now

    def _free_address(self) -> str:
        subnet = self.observed.network.subnet if self.observed.network else self.desired.subnet
        if not subnet:
            return ""
        hosts = ipaddress.ip_network(subnet).hosts()
        next(hosts)  # the gateway
        for host in hosts:
            address = str(host)
            if address not in self.taken:
                self.taken.add(address)
                return address
        raise PlatformError(
            f"The network of {self.desired.app}, {subnet}, has no address left for another instance.",
            hint="Scale it down, or give the app a larger subnet.",
            id="network_full",
        )

    # ------------------------------------------------------------ the end of an app

    def _farewell(self) -> Plan:
        for each in self.living:
            if each.is_running:
                self._retire(each, "app deleted")
            else:
                self._remove(each)
        steps: list[Step] = []
        if self.observed.route is not None:
            steps.append(RemoveRoute(self.desired.app))
        steps += [Unbind(*key) for key in sorted(self.observed.bindings)]
        steps += self.retires
        steps += self.removes
        if self.observed.network is not None:
            steps.append(RemoveNetwork(self.desired.app, self.observed.network.name))
        return Plan(self.desired.app, steps, look_again_at=min(self.due, default=None))


def _ip(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def _same(one: Route, other: Route) -> bool:
    return _essence(one) == _essence(other)


def _essence(route: Route) -> Mapping[str, object]:
    """What it says, whichever sequences and mappings it is made of."""
    values = {each.name: getattr(route, each.name) for each in fields(route)}
    return {
        name: tuple(value) if isinstance(value, list) else dict(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
    }


def _ended_at(instance: Instance) -> float:
    return instance.container.finished_at.timestamp() if instance.container.finished_at else 0.0


def _span(span: timedelta) -> str:
    seconds = max(0, round(span.total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h"
