from __future__ import annotations

from datetime import timedelta

import pytest

from runtime.engine.api import State
from runtime.errors import PlatformError
from runtime.reconcile.observe import InstanceMemory, remember_crash
from runtime.reconcile.plan import Start, SwitchRoute
from runtime.reconcile.spec import AppSpec, CheckKind, HealthCheck
from runtime.router.api import Route, RouteState
from tests.unit.runtime.reconcile.world import HOSTS, NOW, World, app, final_route, lines, web, worker


def transcript(world: World, desired: AppSpec) -> str:
    return str(world.plan(desired))


def test_the_first_release_makes_the_network_and_starts_everything() -> None:
    world = World()
    world.network = None
    made = world.plan(app(web(1, 2), worker(1)))
    assert str(made) == lines("""
        network hello: create 10.210.0.0/28
        start web.1: release v1
        start web.2: release v1
        start worker.1: release v1
        wait web.1: TCP 8000
        wait web.2: TCP 8000
        wait worker.1: up for 3 s
        route hello: web.1, web.2
    """)
    assert final_route(made) == ("10.210.0.2:8000", "10.210.0.3:8000")


def test_nothing_to_do_is_an_empty_plan() -> None:
    world = World()
    world.has(web(7), 1)
    world.has(web(7), 2)
    world.has(worker(7))
    world.routes(2, 3)
    made = world.plan(app(web(7, 2), worker(7)))
    assert not made
    assert str(made) == ""
    assert made.look_again_at is None


def test_a_release_starts_all_the_new_before_it_stops_any_of_the_old() -> None:
    world = World()
    world.has(web(6))
    world.has(worker(6))
    world.routes(2)
    made = world.plan(app(web(7, 2), worker(7)))
    assert str(made) == lines("""
        start web.1: release v7
        start web.2: release v7
        start worker.1: release v7
        wait web.1: TCP 8000
        wait web.2: TCP 8000
        wait worker.1: up for 3 s
        route hello: web.1, web.2
        drain and stop web.1 of v6: replaced
        stop worker.1 of v6: replaced
    """)
    assert final_route(made) == ("10.210.0.4:8000", "10.210.0.5:8000")


def test_a_process_type_that_is_gone_is_stopped() -> None:
    world = World()
    world.has(web(7))
    world.has(worker(7))
    world.routes(2)
    assert transcript(world, app(web(7))) == "stop worker.1 of v7: no longer wanted"


def test_scaling_up_starts_only_what_is_missing() -> None:
    world = World()
    world.has(web(7), 2)
    world.routes(2)
    made = world.plan(app(web(7, 3)))
    assert str(made) == lines("""
        start web.1: scaled to 3
        start web.3: scaled to 3
        wait web.1: TCP 8000
        wait web.3: TCP 8000
        route hello: web.1, web.2, web.3
    """)
    assert final_route(made) == ("10.210.0.3:8000", "10.210.0.2:8000", "10.210.0.4:8000")


def test_scaling_down_retires_the_highest() -> None:
    world = World()
    for index in (1, 2, 3):
        world.has(web(7), index)
    world.routes(2, 3, 4)
    assert transcript(world, app(web(7, 1))) == lines("""
        route hello: web.1
        drain and stop web.2 of v7: scaled to 1
        drain and stop web.3 of v7: scaled to 1
    """)


def test_scaling_to_nothing_shows_a_page() -> None:
    world = World()
    world.has(web(7))
    world.routes(2)
    made = world.plan(app(web(7, 0)))
    assert str(made) == lines("""
        route hello: page that nothing runs
        drain and stop web.1 of v7: scaled to 0
    """)


def test_an_app_without_a_release_has_a_page() -> None:
    world = World()
    world.network = None
    assert transcript(world, app()) == "route hello: page that nothing runs"
    world.routes(state=RouteState.DOWN)
    assert not world.plan(app())


def test_maintenance_changes_the_route_alone() -> None:
    world = World()
    world.has(web(7))
    world.routes(2)
    assert transcript(world, app(web(7), maintenance=True)) == "route hello: maintenance page"
    world.routes(2, state=RouteState.MAINTENANCE)
    assert not world.plan(app(web(7), maintenance=True))
    assert transcript(world, app(web(7))) == "route hello: web.1"


def test_a_new_host_changes_the_route_alone() -> None:
    world = World()
    world.has(web(7))
    world.routes(2)
    assert transcript(world, app(web(7), hosts=("hello.example", "www.example"))) == "route hello: web.1"


def test_settings_of_the_route_reach_it() -> None:
    world = World()
    world.has(web(7))
    world.routes(2)
    settings = {"timeout_seconds": "30", "max_body_bytes": "1000", "force_https": "true"}
    made = world.plan(app(web(7), settings=settings))
    assert str(made) == "route hello: web.1"
    (step,) = made.steps
    assert isinstance(step, SwitchRoute)
    assert (step.route.timeout_seconds, step.route.max_body_bytes, step.route.force_https) == (30, 1000, True)
    world.route = step.route
    assert not world.plan(app(web(7), settings=settings))


def test_a_lost_route_is_made_again_for_those_that_answer() -> None:
    world = World()
    world.has(web(7))
    assert transcript(world, app(web(7))) == lines("""
        wait web.1: TCP 8000
        route hello: web.1
    """)


def test_one_instance_can_be_restarted_alone() -> None:
    world = World()
    world.has(web(7, quantity=2), 1)
    world.has(web(7, quantity=2), 2)
    world.has(worker(7))
    world.routes(2, 3)
    made = world.plan(app(web(7, quantity=2), worker(7), restarts={"web.2": 1}))
    assert str(made) == lines("""
        start web.2: restart
        wait web.2: TCP 8000
        route hello: web.1, web.2
        drain and stop web.2 of v7: replaced
    """)
    assert [step.epoch for step in made.steps if isinstance(step, Start)] == [1]


def test_a_process_type_can_be_restarted_alone() -> None:
    world = World()
    world.has(web(7))
    world.has(worker(7), epoch=2)
    world.routes(2)
    assert transcript(world, app(web(7), worker(7), restart_epoch=0, restarts={"worker": 3})) == lines("""
        start worker.1: restart
        wait worker.1: up for 3 s
        stop worker.1 of v7: replaced
    """)


def test_what_was_restarted_alone_counts_as_restarted() -> None:
    world = World()
    world.has(web(7), epoch=4)
    world.routes(2)
    assert not world.plan(app(web(7), restart_epoch=3, restarts={"web.1": 4}))


def test_a_stopped_app_first_answers_with_a_page_and_then_stops() -> None:
    world = World()
    world.has(web(7))
    world.has(worker(7))
    world.routes(2)
    assert transcript(world, app(release=7, stopped=True)) == lines("""
        route hello: page that it is stopped
        drain and stop web.1 of v7: app stopped
        stop worker.1 of v7: app stopped
    """)


def test_a_stopped_app_stays_stopped() -> None:
    world = World()
    world.routes(state=RouteState.STOPPED)
    assert not world.plan(app(release=8, stopped=True))


def test_a_started_app_comes_back_as_it_was_scaled() -> None:
    world = World()
    world.routes(state=RouteState.STOPPED)
    assert transcript(world, app(web(8, quantity=2))) == lines("""
        start web.1: release v8
        start web.2: release v8
        wait web.1: TCP 8000
        wait web.2: TCP 8000
        route hello: web.1, web.2
    """)


def test_an_own_maintenance_page_is_part_of_the_route_and_only_then() -> None:
    world = World()
    world.has(web(7))
    world.routes(2)
    closed = app(web(7), maintenance=True, maintenance_page="<h1>Soon</h1>")
    made = world.plan(closed)
    assert [step.route.page for step in made.steps if isinstance(step, SwitchRoute)] == ["<h1>Soon</h1>"]
    world.route = Route("hello", HOSTS, RouteState.MAINTENANCE, ("10.210.0.2:8000",), page="<h1>Soon</h1>")
    assert not world.plan(closed)
    world.routes(2)
    assert not world.plan(app(web(7), maintenance_page="<h1>Soon</h1>"))


def test_a_restart_replaces_every_instance() -> None:
    world = World()
    world.has(web(7), epoch=2)
    world.routes(2)
    made = world.plan(app(web(7), restart_epoch=3))
    assert str(made) == lines("""
        start web.1: restart
        wait web.1: TCP 8000
        route hello: web.1
        drain and stop web.1 of v7: replaced
    """)
    assert [step.epoch for step in made.steps if isinstance(step, Start)] == [3]


def test_changed_limits_replace_the_instance() -> None:
    world = World()
    world.has(web(7))
    world.routes(2)
    assert transcript(world, app(web(7, memory_bytes=1 << 30))) == lines("""
        start web.1: settings changed
        wait web.1: TCP 8000
        route hello: web.1
        drain and stop web.1 of v7: replaced
    """)


def test_quantity_and_health_settings_replace_nothing() -> None:
    world = World()
    world.has(web(7))
    world.routes(2)
    assert not world.plan(app(web(7, health=HealthCheck(CheckKind.HTTP, path="/up"), stop_grace_seconds=5)))


def test_a_crashed_instance_is_started_again_and_says_why() -> None:
    world = World()
    world.had(web(7), ago=12, code=1)
    world.routes(2)
    made = world.plan(app(web(7)))
    assert str(made) == lines("""
        route hello: page that nothing runs
        start web.1: crashed 12 s ago, exit 1
        wait web.1: TCP 8000
        route hello: web.1
        remove web.1: exited
    """)
    assert final_route(made) == ("10.210.0.3:8000",)  # the dead one's is free only when it is gone


def test_one_of_two_crashed_leaves_the_route_at_once() -> None:
    world = World()
    world.has(web(7), 1)
    world.had(web(7), 2, code=137, oom_killed=True)
    world.routes(2, 3)
    assert transcript(world, app(web(7, 2))) == lines("""
        route hello: web.1
        start web.2: ran out of memory 12 s ago
        wait web.2: TCP 8000
        route hello: web.1, web.2
        remove web.2: exited
    """)


def test_a_crash_loop_backs_off_and_is_named() -> None:
    world = World()
    desired = app(worker(7))
    pauses = []
    last = world.had(worker(7), ago=0, up=1)
    world.routes(state=RouteState.DOWN)
    for _ in range(11):
        made = world.plan(desired)
        assert not made
        assert made.look_again_at is not None
        pauses.append((made.look_again_at - world.now).total_seconds())
        world.now = made.look_again_at
        assert "start worker.1: crashed" in transcript(world, desired)
        world.containers = [each for each in world.containers if each.id != last]
        last = world.had(worker(7), ago=0, up=1)
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert transcript(world, desired) == "hold worker.1: crashed 12 times in a row, starts again in 5 min"


def test_the_same_crash_is_counted_once() -> None:
    world = World()
    world.had(worker(7), ago=0)
    world.routes(state=RouteState.DOWN)
    for _ in range(3):
        assert transcript(world, app(worker(7))) == "hold worker.1: crashed once, starts again in 1 s"


def test_ten_steady_minutes_forgive_earlier_crashes() -> None:
    memory = InstanceMemory("v", 8, "c8", NOW)
    assert remember_crash(memory, version="v", container_id="c9", up_seconds=599, at=NOW).crashes == 9
    assert remember_crash(memory, version="v", container_id="c9", up_seconds=600, at=NOW).crashes == 1
    assert remember_crash(memory, version="w", container_id="c9", up_seconds=1, at=NOW).crashes == 1


def test_a_new_release_does_not_wait_for_the_pause_of_the_old() -> None:
    world = World()
    world.had(web(6), ago=1)
    world.routes(state=RouteState.DOWN)
    version = f"{web(6).fingerprint()}/0"
    world.memory = {"web.1": InstanceMemory(version, 9, "c9", NOW + timedelta(minutes=5))}
    assert transcript(world, app(web(7))) == lines("""
        start web.1: release v7
        wait web.1: TCP 8000
        route hello: web.1
        remove web.1: exited
    """)
    assert world.memory == {}


def test_an_instance_that_failed_to_boot_is_held_too() -> None:
    world = World()
    version = f"{web(7).fingerprint()}/0"
    world.memory = {"web.1": remember_crash(InstanceMemory(), version=version, at=NOW)}
    world.routes(state=RouteState.DOWN)
    assert transcript(world, app(web(7))) == "hold web.1: crashed once, starts again in 1 s"
    world.now = NOW + timedelta(seconds=1)
    assert "start web.1: release v7" in transcript(world, app(web(7)))


def test_while_a_restart_that_failed_is_held_the_old_instances_stay() -> None:
    world = World()
    world.has(web(7), epoch=0)
    world.has(worker(7), epoch=0)
    world.routes(2)
    version = f"{web(7).fingerprint()}/1"
    world.memory = {"web.1": remember_crash(InstanceMemory(), version=version, at=NOW)}
    made = world.plan(app(web(7), worker(7), restart_epoch=1))
    assert not made
    assert str(made) == "hold web.1: crashed once, starts again in 1 s"


def test_the_containers_of_an_interrupted_deploy_are_waited_for_not_started_twice() -> None:
    world = World()
    world.has(web(6))
    world.has(worker(6))
    world.has(web(7))
    world.has(worker(7))
    world.routes(2)
    made = world.plan(app(web(7), worker(7)))
    assert str(made) == lines("""
        wait web.1: TCP 8000
        wait worker.1: up for 3 s
        route hello: web.1
        drain and stop web.1 of v6: replaced
        stop worker.1 of v6: replaced
    """)
    assert final_route(made) == ("10.210.0.4:8000",)


def test_a_new_one_that_crashed_in_an_interrupted_deploy_does_not_cost_the_old_one() -> None:
    world = World()
    world.has(web(6))
    world.had(web(7), ago=0)
    world.routes(2)
    made = world.plan(app(web(7)))
    assert str(made) == lines("""
        start web.1: crashed 0 s ago, exit 1
        wait web.1: TCP 8000
        route hello: web.1
        drain and stop web.1 of v6: replaced
        remove web.1: exited
    """)
    assert not any(step.recovers for step in made.steps if isinstance(step, Start))


def test_what_a_failed_release_left_is_taken_away() -> None:
    world = World()
    world.has(web(6))
    world.has(web(7))
    world.had(worker(7))
    world.has(worker(7), state=State.CREATED)
    world.routes(2)
    assert transcript(world, app(web(6))) == lines("""
        drain and stop web.1 of v7: replaced
        remove worker.1: exited
        remove worker.1: never started
    """)


def test_a_container_that_was_never_started_is_replaced() -> None:
    world = World()
    world.has(worker(7), state=State.CREATED)
    world.routes(state=RouteState.DOWN)
    assert transcript(world, app(worker(7))) == lines("""
        start worker.1: was never started
        wait worker.1: up for 3 s
        remove worker.1: never started
    """)


def test_of_two_that_run_as_one_the_routed_stays() -> None:
    world = World()
    world.has(web(7))
    world.has(web(7))
    world.routes(3)
    assert transcript(world, app(web(7))) == "drain and stop web.1 of v7: runs twice"


def test_one_that_is_being_retired_is_left_alone_until_its_deadline() -> None:
    world = World()
    world.has(web(7))
    old = world.has(web(6))
    world.routes(2)
    world.retiring = {old: NOW + timedelta(seconds=30)}
    made = world.plan(app(web(7)))
    assert not made
    assert made.look_again_at == NOW + timedelta(seconds=30)
    world.now = NOW + timedelta(seconds=30)
    assert transcript(world, app(web(7))) == "drain and stop web.1 of v6: replaced"


def test_one_that_is_being_retired_does_not_count_when_it_is_wanted_again() -> None:
    world = World()
    world.has(web(7), 1)
    going = world.has(web(7), 2)
    world.routes(2)
    world.retiring = {going: NOW + timedelta(seconds=30)}
    made = world.plan(app(web(7, 2)))
    assert "start web.2: " in str(made)
    assert final_route(made) == ("10.210.0.2:8000", "10.210.0.4:8000")


def test_addresses_are_the_lowest_that_no_container_has() -> None:
    world = World()
    world.has(web(6), 1, host=2)
    world.had(web(6), 2, host=3)
    world.has(web(6), 2, host=5)
    world.routes(2, 5)
    assert final_route(world.plan(app(web(7, 2)))) == ("10.210.0.4:8000", "10.210.0.6:8000")


def test_a_full_network_is_told_and_nothing_is_done() -> None:
    world = World()
    for index in range(1, 8):
        world.has(web(6), index)
    with pytest.raises(PlatformError) as caught:
        world.plan(app(web(7, 7)))
    assert caught.value.id == "network_full"


def test_after_a_reboot_everything_is_started_again() -> None:
    world = World()
    world.had(web(7), 1, ago=40, code=255)
    world.had(web(7), 2, ago=40, code=255)
    world.had(worker(7), ago=40, code=143)
    world.routes(2, 3)
    assert transcript(world, app(web(7, 2), worker(7))) == lines("""
        route hello: page that nothing runs
        start web.1: crashed 40 s ago, exit 255
        start web.2: crashed 40 s ago, exit 255
        start worker.1: crashed 40 s ago, exit 143
        wait web.1: TCP 8000
        wait web.2: TCP 8000
        wait worker.1: up for 3 s
        route hello: web.1, web.2
        remove web.1: exited
        remove web.2: exited
        remove worker.1: exited
    """)


def test_a_deleted_app_leaves_nothing() -> None:
    world = World()
    world.has(web(7))
    world.had(worker(7))
    world.routes(2)
    assert transcript(world, app(web(7), deleted=True)) == lines("""
        route hello: remove
        drain and stop web.1 of v7: app deleted
        remove worker.1: exited
        network hello: remove
    """)
    gone = World()
    gone.network = None
    assert not gone.plan(app(deleted=True))


def test_checks_are_told_in_words() -> None:
    world = World()
    checks = {
        "a": HealthCheck(CheckKind.HTTP, path="/up"),
        "b": HealthCheck(CheckKind.IMAGE),
        "c": HealthCheck(CheckKind.TCP, port=9000),
    }
    text = transcript(world, app(*(web(1, process=name, health=check) for name, check in checks.items())))
    assert "wait a.1: HTTP /up on 8000" in text
    assert "wait b.1: the image's health check" in text
    assert "wait c.1: TCP 9000" in text


def test_looking_at_two_hundred_idle_apps_is_cheap() -> None:
    world = World()
    for index in (1, 2):
        world.has(web(7), index)
    world.has(worker(7))
    world.routes(2, 3)
    desired = app(web(7, 2), worker(7))
    for _ in range(200):
        assert not world.plan(desired)
