"""Public ports move like the route: the new instance first, then the switch, then the drain."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from runtime.engine.api import Listener
from runtime.engine.memory import Behaviour, MemoryEngine
from runtime.errors import BootFailed
from runtime.reconcile.apply import Applier, InstanceFailed
from runtime.reconcile.observe import observe
from runtime.reconcile.plan import plan
from runtime.reconcile.spec import AppSpec, CheckKind, HealthCheck, ProcessSpec
from runtime.router.api import Binding, PortProtocol
from tests.unit.runtime.reconcile.router import WatchedRouter
from tests.unit.runtime.reconcile.world import World, app, lines, tcp, udp, web, worker

TCP, UDP = PortProtocol.TCP, PortProtocol.UDP
GAME = tcp(9000, 20001)
QUERY = udp(9001, 20002)


def transcript(world: World, desired: AppSpec) -> str:
    return str(world.plan(desired))


def test_a_first_binding_comes_before_the_route_as_another_process_may_have_the_port() -> None:
    world = World()
    assert transcript(world, app(web(1, 2, bound=[GAME]), worker(1, bound=[QUERY]))) == lines("""
        start web.1: release v1
        start web.2: release v1
        start worker.1: release v1
        wait web.1: TCP 8000
        wait web.2: TCP 8000
        wait worker.1: up for 3 s
        bind tcp 0.0.0.0:20001: web.1:9000, web.2:9000
        bind udp 0.0.0.0:20002: worker.1:9001
        route hello: web.1, web.2
    """)


def test_a_release_moves_the_ports_when_the_new_are_healthy_and_drains_the_old() -> None:
    world = World()
    world.has(web(6, bound=[GAME]))
    world.routes(2)
    world.binds(GAME, 2)
    assert transcript(world, app(web(7, bound=[GAME]))) == lines("""
        start web.1: release v7
        wait web.1: TCP 8000
        route hello: web.1
        bind tcp 0.0.0.0:20001: web.1:9000
        drain and stop web.1 of v6: replaced
    """)


def test_nothing_to_do_is_an_empty_plan() -> None:
    world = World()
    world.has(web(7, bound=[GAME, QUERY]))
    world.routes(2)
    world.binds(GAME, 2)
    world.binds(QUERY, 2)
    assert transcript(world, app(web(7, bound=[GAME, QUERY]))) == ""


def test_a_lost_binding_is_made_again_for_those_that_answer() -> None:
    world = World()
    world.has(web(7, bound=[GAME]))
    world.routes(2)
    assert transcript(world, app(web(7, bound=[GAME]))) == lines("""
        wait web.1: TCP 8000
        bind tcp 0.0.0.0:20001: web.1:9000
    """)


def test_a_process_type_without_http_that_is_bound_is_drained() -> None:
    world = World()
    world.has(worker(6, bound=[QUERY]))
    world.routes()
    world.binds(QUERY, 2)
    made = transcript(world, app(web(7), worker(7, bound=[QUERY])))
    assert made.endswith("bind udp 0.0.0.0:20002: worker.1:9001\ndrain and stop worker.1 of v6: replaced")


def test_one_of_two_crashed_leaves_the_binding_at_once() -> None:
    world = World()
    world.had(web(7, 2, bound=[GAME]), 1)
    world.has(web(7, 2, bound=[GAME]), 2)
    world.routes(2, 3)
    world.binds(GAME, 2, 3)
    assert transcript(world, app(web(7, 2, bound=[GAME]))) == lines("""
        route hello: web.2
        bind tcp 0.0.0.0:20001: web.2:9000
        start web.1: crashed 12 s ago, exit 1
        wait web.1: TCP 8000
        route hello: web.1, web.2
        bind tcp 0.0.0.0:20001: web.1:9000, web.2:9000
        remove web.1: exited
    """)


def test_a_port_may_move_to_another_process_type_in_one_step() -> None:
    world = World()
    world.has(web(6, bound=[GAME]))
    world.routes(2)
    world.binds(GAME, 2)
    made = transcript(world, app(web(7), worker(7, bound=[GAME])))
    assert "bind tcp 0.0.0.0:20001: worker.1:9000" in made
    assert "unbind" not in made


def test_bindings_that_nobody_wants_any_more_go() -> None:
    world = World()
    world.has(web(6, bound=[GAME, QUERY]))
    world.routes(2)
    world.binds(GAME, 2)
    world.binds(QUERY, 2)
    assert transcript(world, app(web(7, bound=[GAME]))).splitlines()[-3:] == [
        "bind tcp 0.0.0.0:20001: web.1:9000",
        "unbind udp 20002",
        "drain and stop web.1 of v6: replaced",
    ]
    assert "unbind tcp 20001\nunbind udp 20002" in transcript(world, app())  # scaled to nothing
    assert "unbind tcp 20001\nunbind udp 20002" in transcript(world, app(deleted=True))


# Carried out


QUICK = HealthCheck(CheckKind.TCP, start_seconds=0.2, timeout_seconds=0.05)
OPEN = Behaviour(listens=[Listener("0.0.0.0", port) for port in (8000, 9000, 9001)])


class Platform:
    def __init__(self) -> None:
        self.engine = MemoryEngine()
        self.router = WatchedRouter()
        self.applier = Applier(
            self.engine,
            self.router,
            home="home-1",
            accepts=self.engine.accepts,
            answers=self.engine.answers,
            takes_datagrams=self.engine.accepts,
        )

    def image(self, spec: ProcessSpec, behaviour: Behaviour = OPEN) -> ProcessSpec:
        self.engine.add_image(spec.image, lambda _: behaviour)
        return spec

    def converge(self, desired: AppSpec) -> None:
        observed = observe(self.engine, self.router, home="home-1").of(desired)
        self.applier.apply(plan(desired, observed, now=datetime.now(UTC)))

    def bound_to(self, public_port: int) -> list[str]:
        """Which instances are behind a port, as "web.1 v7"."""
        addresses = next(each.addresses for key, each in self.router.bindings().items() if key[1] == public_port)
        names = {
            container.address: f"{container.labels['paas.process']}.{container.labels['paas.index']} "
            f"v{container.labels['paas.release']}"
            for container in self.engine.list()
        }
        return [names[address.partition(":")[0]] for address in addresses]


def test_a_release_takes_over_the_ports_and_the_old_one_is_drained_from_each() -> None:
    platform = Platform()
    platform.converge(app(platform.image(web(6, bound=[GAME, QUERY], health=QUICK))))
    assert platform.bound_to(20001) == platform.bound_to(20002) == ["web.1 v6"]
    old = platform.router.bindings()[TCP, 20001].addresses[0].partition(":")[0]
    platform.converge(app(platform.image(web(7, bound=[GAME, QUERY], health=QUICK))))
    assert platform.bound_to(20001) == platform.bound_to(20002) == ["web.1 v7"]
    assert platform.router.drains == [("hello", f"{old}:8000"), ("tcp", f"{old}:9000"), ("udp", f"{old}:9001")]


@pytest.mark.parametrize(("missing", "kind"), [(9000, "TCP"), (9001, "UDP")])
def test_an_instance_that_does_not_open_its_port_fails_and_nothing_is_switched(missing: int, kind: str) -> None:
    platform = Platform()
    platform.converge(app(platform.image(web(6, bound=[GAME, QUERY], health=QUICK))))
    half = Behaviour(listens=[Listener("0.0.0.0", port) for port in (8000, 9000, 9001) if port != missing])
    with pytest.raises(InstanceFailed) as failed:
        platform.converge(app(platform.image(web(7, bound=[GAME, QUERY], health=QUICK), half)))
    assert failed.value.id == "boot_port_closed"
    assert f"nothing took {kind} on its port {missing}" in failed.value.message
    assert platform.bound_to(20001) == platform.bound_to(20002) == ["web.1 v6"]
    assert len(platform.engine.list()) == 1


def test_a_port_that_another_process_took_meanwhile_fails_the_release_before_anything_is_switched() -> None:
    platform = Platform()
    platform.converge(app(platform.image(web(6, health=QUICK))))
    platform.router.occupy(TCP, 20001, by="postgres (process 812)")
    with pytest.raises(BootFailed, match="postgres") as failed:
        platform.converge(app(platform.image(web(7, bound=[GAME], health=QUICK))))
    assert failed.value.id == "port_taken"
    assert [container.labels["paas.release"] for container in platform.engine.list()] == ["6"]
    assert len(platform.router.history) == 1


def test_a_process_type_without_http_is_ready_when_its_port_is_open() -> None:
    platform = Platform()
    health = HealthCheck(CheckKind.TCP, port=9000, start_seconds=0.2)
    platform.converge(app(platform.image(worker(3, bound=[GAME], health=health))))
    assert platform.bound_to(20001) == ["worker.1 v3"]


def test_the_bindings_of_a_deleted_app_go_and_others_stay() -> None:
    platform = Platform()
    platform.router.bind(Binding("other", UDP, 20009))
    platform.converge(app(platform.image(web(6, bound=[GAME, QUERY], health=QUICK))))
    platform.converge(app(deleted=True))
    assert set(platform.router.bindings()) == {(UDP, 20009)}
