"""Rows in, containers and routes out: releases go live or leave everything as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from paas import wiring
from paas.apps.models import App
from paas.apps.services import destroy_app, restart_app, set_maintenance
from paas.builds.log import read
from paas.config.services import change_config
from paas.convergence import services
from paas.convergence.models import Retirement
from paas.core.models import Event
from paas.formation.services import scale
from paas.releases.models import PortBinding, Release
from paas.releases.services import roll_back
from paas.routing.services import add_port
from paas.wiring import image_reference
from runtime.engine.api import Container, Listener
from runtime.engine.memory import Behaviour, MemoryEngine
from runtime.errors import EngineUnavailable
from runtime.reconcile.apply import Applier
from runtime.router.api import Binding, PortProtocol, RouteState
from runtime.router.memory import MemoryRouter
from tests.factories import make_app, make_image, make_release

pytestmark = pytest.mark.django_db


class NoRegistry:
    def delete_manifest(self, repository: str, digest: str) -> None:
        """Nothing was pushed in these tests."""


@pytest.fixture
def world(sent_tasks) -> Iterator[SimpleNamespace]:
    engine, router = MemoryEngine(), MemoryRouter()
    applier = Applier(
        engine,
        router,
        home=str(settings.ENV.home),
        accepts=engine.accepts,
        answers=engine.answers,
        takes_datagrams=engine.accepts,
        drain_seconds=0,
    )
    with wiring.replaced(engine=engine, router=router, applier=applier, registry=NoRegistry()):
        yield SimpleNamespace(engine=engine, router=router, sent=sent_tasks)


def wish(world, app, behaviour: Behaviour | None = None, **image):
    """A deploy of a new image that behaves so, brought to its end."""
    made = make_image(app, **image)
    world.engine.add_image(image_reference(made.repository, made.digest), behaviour or Behaviour())
    release = make_release(app, live=False, image=made)
    services.converge(str(app.pk))
    retire_all(world)
    release.refresh_from_db()
    app.refresh_from_db()
    return release


def retire_all(world) -> None:
    for name, arguments in list(world.sent):
        if name == "convergence.retire":
            services.retire(*arguments)
    world.sent.clear()


def running(world, app) -> list[str]:
    containers = world.engine.list({"paas.app": app.name})
    return sorted(
        f"{each.labels['paas.process']}.{each.labels['paas.index']} v{each.labels['paas.release']}"
        for each in containers
        if each.state == "running"
    )


def test_a_release_goes_live_and_is_routed(world):
    app = make_app()
    release = wish(world, app)
    assert release.status == "succeeded"
    assert app.current_release == release
    assert running(world, app) == ["web.1 v1"]
    route = world.router.get("hello")
    assert route.hosts == ("hello.apps.example",)
    assert len(route.addresses) == 1
    assert app.observed_generation == app.generation
    row = app.instances.get()
    assert (str(row), row.state) == ("web.1", "up")
    services.converge(str(app.pk))
    assert app.instances.get().since == row.since


def test_the_app_is_told_its_config_port_and_release(world):
    app = make_app()
    change_config(app, {"GREETING": "hi"}, by=app.owner)
    wish(world, app)
    told = world.engine.started[-1].environment
    assert {"GREETING": "hi", "PORT": "8080", "PAAS_APP": "hello", "PAAS_RELEASE": "v2"}.items() <= told.items()


def test_a_release_that_crashes_leaves_the_old_one_serving(world):
    app = make_app()
    good = wish(world, app)
    before = world.router.get("hello")
    bad = wish(world, app, Behaviour(exit_code=3, output=[("stderr", "no such table: shop")]))
    assert (bad.status, bad.error_id) == ("failed", "boot_crashed")
    assert "3" in bad.reason
    assert bad.hint
    assert app.current_release == good
    assert running(world, app) == ["web.1 v1"]
    assert world.router.get("hello") == before
    assert "       | no such table: shop" in list(read(bad.pk))
    assert [row.state for row in app.instances.all()] == ["up"]


def test_a_first_release_that_fails_leaves_nothing(world):
    app = make_app()
    bad = wish(world, app, Behaviour(exit_code=3))
    assert bad.status == "failed"
    assert world.engine.list({"paas.home": str(settings.ENV.home)}) == []
    assert world.engine.list_networks(["paas.home"]) == []


def test_a_secret_in_the_boot_log_is_masked(world):
    app = make_app()
    change_config(app, {"API_TOKEN": "canary-4711"}, by=app.owner)
    bad = wish(world, app, Behaviour(exit_code=1, output=[("stderr", "Error: token canary-4711")]))
    assert not any("canary" in line for line in read(bad.pk))
    assert "canary" not in bad.reason


def test_all_process_types_move_together_or_not_at_all(world):
    app = make_app()
    wish(world, app, process_types={"web": "serve", "worker": "work"})
    assert running(world, app) == ["web.1 v1", "worker.1 v1"]


def test_a_failing_release_command_starts_nothing(world):
    app = make_app()
    wish(world, app)
    bad = wish(world, app, Behaviour(exit_code=1, output=[("stdout", "migrating")]), release_command="migrate")
    assert (bad.status, bad.error_id) == ("failed", "release_command_failed")
    assert running(world, app) == ["web.1 v1"]
    assert "       migrating" in list(read(bad.pk))


def test_a_rollback_runs_the_old_image_with_the_old_config(world):
    app = make_app()
    change_config(app, {"COLOUR": "red"}, by=app.owner)
    old = wish(world, app)
    change_config(app, {"COLOUR": "blue"}, by=app.owner)
    services.converge(str(app.pk))
    app.refresh_from_db()
    wish(world, app)
    roll_back(app, old, by=app.owner)
    services.converge(str(app.pk))
    retire_all(world)
    assert running(world, app) == ["web.1 v5"]
    spec = world.engine.started[-1]
    assert spec.environment["COLOUR"] == "red"
    assert spec.image.endswith(old.image.digest)


def test_the_old_instances_are_retired_in_the_background(world):
    app = make_app()
    wish(world, app)
    change_config(app, {"A": "1"}, by=app.owner)
    services.converge(str(app.pk))
    assert running(world, app) == ["web.1 v1", "web.1 v2"]
    assert Retirement.objects.count() == 1
    services.converge(str(app.pk))  # whoever looks now leaves the old one alone
    assert running(world, app) == ["web.1 v1", "web.1 v2"]
    retire_all(world)
    assert running(world, app) == ["web.1 v2"]
    assert Retirement.objects.count() == 0


def test_scaling_up_and_down_touches_only_the_difference(world):
    app = make_app()
    wish(world, app)
    first = world.engine.list({"paas.app": "hello"})[0].id
    scale(app, {"web": 3}, by=app.owner)
    services.converge(str(app.pk))
    assert running(world, app) == ["web.1 v1", "web.2 v1", "web.3 v1"]
    assert len(world.router.get("hello").addresses) == 3
    scale(app, {"web": 1}, by=app.owner)
    services.converge(str(app.pk))
    retire_all(world)
    assert [each.id for each in world.engine.list({"paas.app": "hello"})] == [first]


def test_scaled_to_nothing_visitors_get_a_page(world):
    app = make_app()
    wish(world, app)
    scale(app, {"web": 0}, by=app.owner)
    services.converge(str(app.pk))
    retire_all(world)
    assert running(world, app) == []
    assert world.router.get("hello").state == RouteState.DOWN
    assert app.instances.count() == 0


def test_maintenance_changes_the_route_and_no_instance(world):
    app = make_app()
    wish(world, app)
    before = [each.id for each in world.engine.list({"paas.app": "hello"})]
    set_maintenance(app, True, by=app.owner)
    services.converge(str(app.pk))
    assert world.router.get("hello").state == RouteState.MAINTENANCE
    set_maintenance(app, False, by=app.owner)
    app.refresh_from_db()
    services.converge(str(app.pk))
    assert world.router.get("hello").state == RouteState.UP
    assert [each.id for each in world.engine.list({"paas.app": "hello"})] == before


def test_a_restart_replaces_every_instance(world):
    app = make_app()
    wish(world, app)
    before = {each.id for each in world.engine.list({"paas.app": "hello"})}
    restart_app(app, by=app.owner)
    services.converge(str(app.pk))
    retire_all(world)
    after = {each.id for each in world.engine.list({"paas.app": "hello"})}
    assert len(after) == 1
    assert not before & after


def test_a_crashed_instance_is_named_and_tried_again_after_a_pause(world):
    app = make_app()
    wish(world, app)
    container = world.engine.list({"paas.app": "hello"})[0]
    world.engine.end(container.id, exit_code=3)
    services.converge(str(app.pk))
    row = app.instances.get()
    assert row.state == "crashed"
    assert "exited with 3" in row.reason
    assert ("convergence.converge", (str(app.pk),)) in world.sent


def test_what_becomes_of_instances_is_told(world):
    app = make_app()
    wish(world, app)
    world.engine.end(world.engine.list({"paas.app": "hello"})[0].id, exit_code=3)
    services.converge(str(app.pk))
    services.converge(str(app.pk))
    scale(app, {"web": 0}, by=app.owner)
    services.converge(str(app.pk))
    events = Event.objects.filter(include="dyno")
    assert [(each.action, each.data["name"], each.data["state"], each.previous) for each in events] == [
        ("create", "web.1", "up", {}),
        ("update", "web.1", "crashed", {"state": "up"}),
        ("destroy", "web.1", "crashed", {}),
    ]
    assert events[1].data["crashes"] == 1
    assert "exited with 3" in events[1].data["reason"]


def test_the_sweep_asks_only_for_apps_that_are_off_course(world):
    app, idle = make_app(), make_app("idle")
    wish(world, app)
    wish(world, idle)
    services.sweep()
    assert world.sent == []
    world.engine.remove(world.engine.list({"paas.app": "hello"})[0].id)
    services.sweep()
    assert world.sent == [("convergence.converge", (str(app.pk),))]


def test_a_sweep_asks_the_database_as_often_for_many_apps_as_for_one(world):
    wish(world, make_app())
    with CaptureQueriesContext(connection) as one:
        services.sweep()
    for number in range(3):
        wish(world, make_app(f"more-{number}"))
    with CaptureQueriesContext(connection) as four:
        services.sweep()
    assert len(four) == len(one)
    assert world.sent == []


def test_one_app_that_cannot_be_planned_does_not_stop_the_sweep(world):
    bad, app = make_app("a-bad"), make_app()
    wish(world, bad)
    wish(world, app)
    Release.objects.filter(app=bad).update(health_checks={"web": {"kind": "nonsense"}})
    world.engine.remove(world.engine.list({"paas.app": "hello"})[0].id)
    services.sweep()
    assert world.sent == [("convergence.converge", (str(app.pk),))]


def test_the_sweep_removes_what_belongs_to_no_app(world):
    app = make_app()
    wish(world, app)
    App.objects.filter(pk=app.pk).update(current_release=None)
    app.releases.all().delete()
    app.delete()
    services.sweep()
    assert world.engine.list({"paas.home": str(settings.ENV.home)}) == []
    assert world.router.get("hello") is None
    assert world.engine.list_networks(["paas.home"]) == []


def test_a_destroyed_app_leaves_nothing(world):
    app = make_app()
    wish(world, app)
    change_config(app, {"A": "1"}, by=app.owner)
    destroy_app(app, by=app.owner)
    services.converge(str(app.pk))
    assert not App.objects.filter(pk=app.pk).exists()
    assert world.engine.list({"paas.home": str(settings.ENV.home)}) == []
    assert world.engine.list_networks(["paas.home"]) == []
    assert world.router.get("hello") is None


def test_while_the_engine_is_away_the_release_waits_and_then_goes_live(world):
    app = make_app()
    image = make_image(app)
    world.engine.add_image(image_reference(image.repository, image.digest))
    release = make_release(app, live=False, image=image)
    world.engine.available = False
    services.converge(str(app.pk))
    release.refresh_from_db()
    assert release.status == "releasing"
    world.engine.available = True
    services.converge(str(app.pk))
    release.refresh_from_db()
    assert release.status == "succeeded"


class EngineThatIsAway(MemoryEngine):
    is_away = True

    def list(self, labels: Mapping[str, str] | Sequence[str] = ()) -> Sequence[Container]:
        if self.is_away:
            raise EngineUnavailable("The container engine does not answer.")
        return super().list(labels)


def test_an_engine_that_is_away_is_tried_again_later_and_later(world, monkeypatch):
    pauses: list[float | None] = []
    monkeypatch.setattr(services, "send", lambda name, *_, countdown=None: pauses.append(countdown))
    app = make_app()
    engine = EngineThatIsAway()
    with wiring.replaced(engine=engine, router=world.router, applier=Applier(engine, world.router, home="/h")):
        for _ in range(6):
            services.converge(str(app.pk))
        assert pauses == [3, 6, 12, 24, 48, 60]
        engine.is_away = False
        services.converge(str(app.pk))
        engine.is_away = True
        services.converge(str(app.pk))
    assert pauses[-1] == 3, "what went well is a new beginning"


TCP = PortProtocol.TCP
GAME = Behaviour(listens=[Listener("0.0.0.0", port) for port in (8080, 9000)])


def with_port(world, app) -> int:
    """A live release whose `web` has a public port."""
    wish(world, app, GAME)
    port, _ = add_port(app, port=9000, by=app.owner)
    services.converge(str(app.pk))
    retire_all(world)
    return port


def bound_to(world, port: int) -> list[str]:
    binding = world.router.bindings().get((TCP, port))
    return [address.partition(":")[2] for address in binding.addresses] if binding else []


def test_a_public_port_is_bound_moved_and_unbound_by_releases(world):
    app = make_app()
    port = with_port(world, app)
    (first,) = world.router.bindings()[TCP, port].addresses
    wish(world, app, GAME)
    (second,) = world.router.bindings()[TCP, port].addresses
    assert first != second
    assert running(world, app) == ["web.1 v3"]
    roll_back(app, app.releases.get(version=1), by=app.owner)
    services.converge(str(app.pk))
    assert world.router.bindings() == {}
    assert not PortBinding.objects.exists()


def test_a_port_that_another_process_took_meanwhile_fails_the_release_alone(world):
    app = make_app()
    wish(world, app, GAME)
    port, release = add_port(app, port=9000, by=app.owner)
    world.router.occupy(TCP, port, by="postgres (process 812)")
    services.converge(str(app.pk))
    release.refresh_from_db()
    assert (release.status, release.error_id) == ("failed", "port_taken")
    assert "postgres (process 812)" in release.reason
    assert running(world, app) == ["web.1 v1"]
    assert not PortBinding.objects.exists()  # somebody else may have it


def test_a_binding_that_was_lost_is_made_again(world):
    app = make_app()
    port = with_port(world, app)
    world.router.unbind(TCP, port)
    services.converge(str(app.pk))
    assert bound_to(world, port) == ["9000"]


def test_a_process_type_that_is_stopped_leaves_its_port_closed_and_kept(world):
    app = make_app()
    port = with_port(world, app)
    scale(app, {"web": 0}, by=app.owner)
    services.converge(str(app.pk))
    assert bound_to(world, port) == []
    assert PortBinding.objects.filter(app=app).count() == 1
    scale(app, {"web": 2}, by=app.owner)
    services.converge(str(app.pk))
    assert bound_to(world, port) == ["9000", "9000"]


def test_the_ports_of_an_app_that_is_gone_are_closed_and_free(world):
    app = make_app()
    port = with_port(world, app)
    world.router.bind(Binding("nobody", TCP, 20_099))
    services.sweep()
    assert set(world.router.bindings()) == {(TCP, port)}
    destroy_app(app, by=app.owner)
    services.converge(str(app.pk))
    assert world.router.bindings() == {}
    assert not PortBinding.objects.exists()
