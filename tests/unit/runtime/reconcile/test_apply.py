from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from runtime.engine.api import ContainerSpec, Health, Listener, State
from runtime.engine.memory import Behaviour, MemoryEngine, Program
from runtime.errors import BootFailed, BuildCancelled, EngineError, ImageMissing, RouterUnavailable
from runtime.reconcile import apply, checks
from runtime.reconcile.apply import Applier, InstanceFailed, Outcome, exit_meaning
from runtime.reconcile.observe import InstanceMemory, observe
from runtime.reconcile.plan import Plan, Retire, plan
from runtime.reconcile.spec import AppSpec, CheckKind, HealthCheck, ProcessSpec
from runtime.router.api import RouteState
from tests.unit.runtime.reconcile.router import WatchedRouter
from tests.unit.runtime.reconcile.world import app, lines, web, worker

HOME = "home-1"
QUICK = HealthCheck(CheckKind.TCP, start_seconds=0.2, timeout_seconds=0.05)
BLINK = HealthCheck(CheckKind.UPTIME, uptime_seconds=0.02, start_seconds=0.2)


class Platform:
    """Looks, plans and applies, as convergence does."""

    def __init__(self) -> None:
        self.engine = MemoryEngine()
        self.router = WatchedRouter()
        self.applier = Applier(
            self.engine,
            self.router,
            home=HOME,
            registry_token_for=lambda reference: f"token for {reference[:20]}",
            accepts=self.engine.accepts,
            answers=self.engine.answers,
        )
        self.memory: dict[str, InstanceMemory] = {}
        self.told: list[str] = []
        self.now = datetime.now(UTC)

    def image(self, spec: ProcessSpec, program: Program | None = None) -> ProcessSpec:
        self.engine.add_image(spec.image, program, present=False)
        return spec

    def look(self, desired: AppSpec) -> Plan:
        observation = observe(self.engine, self.router, home=HOME)
        made = plan(desired, observation.of(desired, memory=self.memory), now=self.now)
        self.memory = dict(made.memory)
        return made

    def converge(self, desired: AppSpec, **options: object) -> Outcome:
        self.told = []
        return self.applier.apply(self.look(desired), narrate=self.told.append, **options)  # type: ignore[arg-type]

    def running(self) -> Sequence[str]:
        seen = observe(self.engine, self.router, home=HOME).instances.values()
        return sorted(f"{each.name} v{each.release}" for app in seen for each in app if each.is_running)

    def containers(self) -> int:
        return len(self.engine.list())


@pytest.fixture
def platform() -> Platform:
    return Platform()


def test_a_first_release_comes_up_and_a_second_look_finds_nothing_to_do(platform: Platform) -> None:
    desired = app(platform.image(web(1, 2)), worker(1, health=BLINK))
    outcome = platform.converge(desired)
    assert "\n".join(platform.told) == lines("""
        network hello: create 10.210.0.0/28
        start web.1: release v1
        start web.2: release v1
        start worker.1: release v1
        wait web.1: TCP 8000
        wait web.2: TCP 8000
        wait worker.1: up for 0.02 s
        route hello: web.1, web.2
    """)
    assert platform.running() == ["web.1 v1", "web.2 v1", "worker.1 v1"]
    assert set(outcome.started) == {"web.1", "web.2", "worker.1"}
    assert set(outcome.seconds) == {"pull", "start", "healthy", "route"}
    assert platform.engine.tokens == ["token for 127.0.0.1:5000/apps/"]
    before = platform.engine.calls
    assert not platform.look(desired)
    assert platform.engine.calls - before == 2  # containers, networks


def test_containers_carry_what_convergence_needs_and_nothing_secret(platform: Platform) -> None:
    environment = {"PORT": "8000", "PASSWORD": "hunter2"}
    platform.converge(app(platform.image(web(3, environment=environment, stop_grace_seconds=9)), restart_epoch=4))
    (spec,) = platform.engine.started
    assert spec.name.startswith("paas-hello-web-1-")
    assert (spec.hostname, spec.command, spec.network) == ("web-1", ("start", "web"), "paas-hello")
    assert spec.environment["PASSWORD"] == "hunter2"
    assert "hunter2" not in str(spec.labels)
    fingerprint = web(3, environment=environment, stop_grace_seconds=9).fingerprint()
    assert spec.labels == {
        "paas.home": HOME,
        "paas.app": "hello",
        "paas.app-id": "a1",
        "paas.kind": "instance",
        "paas.process": "web",
        "paas.index": "1",
        "paas.release": "3",
        "paas.spec": fingerprint,
        "paas.epoch": "4",
        "paas.grace": "9",
        "paas.port": "8000",
    }


def test_a_new_release_takes_over_and_the_old_one_is_drained_and_gone(platform: Platform) -> None:
    platform.converge(app(platform.image(web(6))))
    (old,) = platform.router.table()["hello"].addresses
    platform.converge(app(platform.image(web(7))))
    assert platform.running() == ["web.1 v7"]
    assert platform.containers() == 1
    assert platform.router.drains == [("hello", old)]
    assert old not in platform.router.table()["hello"].addresses


def test_retiring_can_be_put_off(platform: Platform) -> None:
    platform.converge(app(platform.image(web(6))))
    later: list[Retire] = []
    outcome = platform.converge(app(platform.image(web(7))), retire=later.append)
    assert platform.running() == ["web.1 v6", "web.1 v7"]
    assert [step.container_id for step in later] == list(outcome.retired)
    platform.applier.retire_step(later[0])
    platform.applier.retire_step(later[0])  # somebody did it already
    assert platform.running() == ["web.1 v7"]


FAILURES = {
    "crash": (
        Behaviour(exit_code=1, output=[("stderr", "Traceback"), ("stderr", "ImportError: no flask"), ("stderr", "bye")]),
        QUICK,
        "boot_crashed",
        "code 1: an error that the program reports itself. It said: ImportError: no flask",
    ),
    "ended": (Behaviour(exit_code=0), QUICK, "boot_crashed", "with code 0: it ended by itself, without an error"),
    "no command": (Behaviour(exit_code=127), QUICK, "boot_crashed", "its command was not found"),
    "oom": (Behaviour(exit_code=137, oom_killed=True), QUICK, "boot_out_of_memory", "its limit is 512 MB"),
    "no port": (Behaviour(listens=[]), QUICK, "boot_no_port", "nothing in it listens on $PORT (8000) after 0.2 s"),
    "loopback": (
        Behaviour(listens=[Listener("127.0.0.1", 8000)]),
        QUICK,
        "boot_no_port",
        "listens on 127.0.0.1:8000 only",
    ),
    "other port": (
        Behaviour(listens=[Listener("0.0.0.0", 5000)]),
        QUICK,
        "boot_no_port",
        "listens on port 5000, but not on $PORT, which is 8000",
    ),
    "500": (
        Behaviour(http_status=500),
        HealthCheck(CheckKind.HTTP, path="/up", start_seconds=0.2),
        "boot_unhealthy",
        "GET /up answered 500 for 0.2 s",
    ),
    "silent": (
        Behaviour(http_status=checks.SILENT),
        HealthCheck(CheckKind.HTTP, path="/up", start_seconds=0.2),
        "boot_unhealthy",
        "GET /up got no answer within 0.2 s",
    ),
    "unhealthy": (
        Behaviour(health=Health.UNHEALTHY),
        HealthCheck(CheckKind.IMAGE, start_seconds=5),
        "boot_unhealthy",
        "HEALTHCHECK of its image says that it is unhealthy",
    ),
    "never healthy": (
        Behaviour(health=Health.STARTING),
        HealthCheck(CheckKind.IMAGE, start_seconds=0.2),
        "boot_unhealthy",
        "did not pass within 0.2 s",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_release_that_does_not_come_up_leaves_the_old_one_untouched(platform: Platform, name: str) -> None:
    behaviour, health, identity, message = FAILURES[name]
    old = app(platform.image(web(6, 2)), worker(6, health=BLINK))
    platform.converge(old)
    before = {each.id: each for each in platform.engine.list()}
    route = platform.router.table()["hello"]
    platform.image(web(7), lambda spec: behaviour if spec.command[1] == "web" else Behaviour())
    with pytest.raises(InstanceFailed) as caught:
        platform.converge(app(web(7, 2, health=health), worker(7, health=BLINK)))
    failure = caught.value
    assert isinstance(failure, BootFailed)
    assert failure.id == identity
    assert message in failure.message
    assert failure.message.startswith("web.")
    assert " of v7 " in failure.message
    assert failure.hint
    assert list(failure.log_lines) == [text for _, text in behaviour.output]
    assert {each.id: each for each in platform.engine.list()} == before
    assert platform.router.table()["hello"] == route
    assert platform.router.history[-1] == route
    assert not platform.look(old)


def test_a_worker_that_fails_stops_the_whole_release(platform: Platform) -> None:
    platform.converge(app(platform.image(web(6)), worker(6, health=BLINK)))
    platform.image(web(7), lambda spec: Behaviour(exit_code=3 if spec.command[1] == "worker" else None))
    with pytest.raises(InstanceFailed) as caught:
        platform.converge(app(web(7), worker(7, health=BLINK)))
    assert caught.value.instances == ("worker.1",)
    assert platform.running() == ["web.1 v6", "worker.1 v6"]


@pytest.mark.parametrize("status", [200, 302, 404, 500, checks.NOT_HTTP, checks.CLOSED, checks.SILENT])
def test_any_sign_of_life_on_the_port_is_enough_for_a_tcp_check(platform: Platform, status: int) -> None:
    patience = 0.2 if status == checks.SILENT else 5.0  # silence is enough when the time is up, the others at once
    health = HealthCheck(CheckKind.TCP, start_seconds=patience, timeout_seconds=0.05)
    platform.converge(app(platform.image(web(1, health=health), Behaviour(http_status=status))))
    assert platform.running() == ["web.1 v1"]


def test_an_http_check_wants_200_to_399(platform: Platform) -> None:
    check = HealthCheck(CheckKind.HTTP, path="/up", start_seconds=0.2)
    platform.converge(app(platform.image(web(1, health=check), Behaviour(http_status=301))))
    assert platform.running() == ["web.1 v1"]


def test_an_image_that_says_healthy_is_believed(platform: Platform) -> None:
    check = HealthCheck(CheckKind.IMAGE, start_seconds=1)
    platform.converge(app(platform.image(web(1, health=check), Behaviour(health=Health.HEALTHY))))
    assert platform.running() == ["web.1 v1"]


def test_an_answer_that_never_ends_is_not_waited_for_for_ever(platform: Platform, monkeypatch) -> None:
    monkeypatch.setattr(apply, "_MARGIN", 0.0)
    over = threading.Event()

    def drip(*_: object) -> int:
        over.wait(30)
        return 200

    applier = Applier(platform.engine, platform.router, home=HOME, accepts=platform.engine.accepts, answers=drip)
    health = HealthCheck(CheckKind.HTTP, path="/up", start_seconds=0.1, timeout_seconds=0.1, uptime_seconds=0)
    with pytest.raises(InstanceFailed, match="never ends"):
        applier.apply(platform.look(app(platform.image(web(7, health=health)))))
    over.set()
    assert platform.containers() == 0


def test_a_missing_image_leaves_nothing(platform: Platform) -> None:
    platform.converge(app(platform.image(web(6))))
    with pytest.raises(ImageMissing):
        platform.converge(app(web(7)))
    assert platform.running() == ["web.1 v6"]
    assert platform.containers() == 1


def test_a_router_that_went_away_at_the_switch_takes_nothing_away_and_the_next_look_ends_it(platform: Platform) -> None:
    """It may have applied the change before it stopped answering: then visitors are with the new one already."""
    platform.converge(app(platform.image(web(6))))
    made = platform.look(app(platform.image(web(7))))
    platform.router.available = False
    with pytest.raises(RouterUnavailable):
        platform.applier.apply(made)
    platform.router.available = True
    assert platform.running() == ["web.1 v6", "web.1 v7"]
    platform.converge(app(platform.image(web(7))))
    assert platform.running() == ["web.1 v7"]
    assert platform.containers() == 1


def test_a_start_that_the_engine_refuses_takes_the_others_along(platform: Platform) -> None:
    platform.converge(app(platform.image(web(6))))
    made = platform.look(app(platform.image(web(7, 3))))
    platform.engine.add_image("thief:1")
    spec = ContainerSpec(name="thief", image="thief:1", network="paas-hello", address="10.210.0.4")
    platform.engine.start(platform.engine.create(spec))
    with pytest.raises(EngineError):
        platform.applier.apply(made)
    assert platform.running() == ["web.1 v6"]
    assert platform.containers() == 2


def test_a_cancel_while_instances_boot_takes_them_away(platform: Platform) -> None:
    platform.converge(app(platform.image(web(6))))
    platform.image(web(7), Behaviour(listens=[]))

    def check() -> None:
        if platform.containers() > 1:
            raise BuildCancelled("Superseded by a newer push.")

    with pytest.raises(BuildCancelled):
        platform.converge(app(web(7)), check=check)
    assert platform.running() == ["web.1 v6"]
    assert platform.containers() == 1


def test_an_instance_that_crashes_again_after_a_restart_is_counted_and_the_rest_goes_on(platform: Platform) -> None:
    desired = app(platform.image(web(1, 2, health=QUICK)))
    platform.converge(desired)
    victim = next(each for each in platform.engine.list() if each.labels["paas.index"] == "2")
    platform.engine.end(victim.id, exit_code=9)
    platform.now = datetime.now(UTC) + timedelta(seconds=2)
    platform.engine.add_image(web(1).image, Behaviour(exit_code=5))
    outcome = platform.converge(desired)
    assert [failure.instances for failure in outcome.failed] == [("web.2",)]
    assert outcome.started == {}
    assert platform.running() == ["web.1 v1"]
    assert platform.router.table()["hello"].addresses == ("10.210.0.2:8000",)
    left = [each for each in platform.engine.list() if each.state is State.EXITED]
    assert [each.exit_code for each in left] == [5]
    platform.now = datetime.now(UTC)
    assert str(platform.look(desired)) == "hold web.2: crashed 2 times in a row, starts again in 2 s"


def test_the_only_instance_crashing_again_shows_a_page(platform: Platform) -> None:
    desired = app(platform.image(web(1, health=QUICK)))
    platform.converge(desired)
    platform.engine.end(platform.engine.list()[0].id)
    platform.now = datetime.now(UTC) + timedelta(seconds=2)
    platform.engine.add_image(web(1).image, Behaviour(exit_code=5))
    platform.converge(desired)
    assert platform.router.table()["hello"].state is RouteState.DOWN


def test_a_deleted_app_is_gone_from_engine_and_router(platform: Platform) -> None:
    platform.converge(app(platform.image(web(1, 2))))
    platform.converge(app(deleted=True))
    assert platform.containers() == 0
    assert platform.engine.list_networks() == []
    assert platform.router.table() == {}
    assert not platform.look(app(deleted=True))


def test_containers_of_another_home_are_not_seen(platform: Platform) -> None:
    platform.converge(app(platform.image(web(1))))
    assert not observe(platform.engine, platform.router, home="home-2").instances
    assert not observe(platform.engine, platform.router, home="home-2").networks
    assert platform.running() == ["web.1 v1"]


def test_a_release_command_runs_to_its_end_and_leaves_nothing(platform: Platform) -> None:
    desired = app(platform.image(web(1), Behaviour(output=[("stdout", "migrating"), ("stderr", "done")], exit_code=4)))
    platform.applier.ensure_network(desired)
    spec = platform.applier.one_off_spec(desired, desired.processes[0], kind="release", command=["start", "release"])
    said: list[str] = []
    assert platform.applier.run_one_off(spec, narrate=said.append, deadline_seconds=5).code == 4
    assert said == ["migrating", "done"]
    assert platform.containers() == 0
    assert spec.labels["paas.kind"] == "release"
    assert spec.command == ("start", "release")
    assert not observe(platform.engine, platform.router, home=HOME).instances


def test_a_release_command_past_its_deadline_is_killed(platform: Platform) -> None:
    desired = app(platform.image(web(1)))
    platform.applier.ensure_network(desired)
    spec = platform.applier.one_off_spec(desired, desired.processes[0], kind="release", command=["start", "release"])
    with pytest.raises(TimeoutError, match=r"after 0\.05 s"):
        platform.applier.run_one_off(spec, narrate=lambda line: None, deadline_seconds=0.05)
    assert platform.containers() == 0


def test_a_cancelled_release_command_is_killed(platform: Platform) -> None:
    desired = app(platform.image(web(1)))
    platform.applier.ensure_network(desired)
    spec = platform.applier.one_off_spec(desired, desired.processes[0], kind="run")

    def check() -> None:
        raise BuildCancelled("Cancelled.")

    with pytest.raises(BuildCancelled):
        platform.applier.run_one_off(spec, narrate=lambda line: None, deadline_seconds=60, check=check)
    assert platform.containers() == 0


def test_exit_codes_are_told_in_words() -> None:
    assert exit_meaning(139) == "it crashed with a segmentation fault"
    assert exit_meaning(137) == "it was killed"
    assert exit_meaning(130) == "it was ended by SIGINT"
    assert exit_meaning(255) == "a code of the program's own"
