"""One-off runs: started, watched, stopped, written down; whatever becomes of workers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from paas import wiring
from paas.accounts.models import User
from paas.apps.models import App, Role
from paas.apps.services import add_collaborator
from paas.core import redis
from paas.core.models import AuditEvent
from paas.formation.services import set_limits
from paas.runs import services
from paas.runs.models import Run, RunStatus
from paas.runs.rendezvous import claim_terminal, promise_terminal
from paas.wiring import image_reference
from runtime.engine.memory import Behaviour, MemoryEngine
from runtime.errors import Conflict, InvalidInput
from runtime.reconcile.apply import Applier
from runtime.reconcile.spec import INDEX, KIND
from runtime.router.memory import MemoryRouter
from tests.factories import make_app, make_config, make_image, make_live, make_release, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> Iterator[SimpleNamespace]:
    engine, router = MemoryEngine(), MemoryRouter()
    with wiring.replaced(engine=engine, router=router, applier=Applier(engine, router, home=str(settings.ENV.home))):
        yield SimpleNamespace(engine=engine)


@pytest.fixture
def app(world: SimpleNamespace) -> App:
    return deployed(world, Behaviour())


def deployed(world: SimpleNamespace, behaviour: Behaviour, name: str = "hello", **image: object) -> App:
    app = make_app(name)
    made = make_image(app, **image)  # type: ignore[arg-type]
    world.engine.add_image(image_reference(made.repository, made.digest), behaviour)
    make_release(app, image=made)
    return app


def begun(app: App, command: str = "bin/work") -> Run:
    run = services.start_run(app, command, by=app.owner)
    services.begin(run.pk)
    run.refresh_from_db()
    return run


def share(app: App, name: str, role: Role) -> User:
    user = make_user(name)
    add_collaborator(app, user, role, by=app.owner)
    return user


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def containers(world: SimpleNamespace) -> list[str]:
    return [f"{each.labels[KIND]}.{each.labels[INDEX]}" for each in world.engine.list({KIND: "run"})]


def test_a_command_runs_in_the_current_release_with_its_config(world: SimpleNamespace, app: App):
    make_live(make_config(app, GREETING="Hello"))
    run = begun(app, "python manage.py migrate")
    assert (run.status, run.number) == (RunStatus.RUNNING, 1)
    spec = world.engine.started[-1]
    assert (spec.command, spec.environment["GREETING"]) == (("run", "python manage.py migrate"), "Hello")
    assert spec.environment["PAAS_INSTANCE"] == "run.1"
    assert containers(world) == ["run.1"]


def test_an_image_without_a_launcher_gives_the_command_to_a_shell(world: SimpleNamespace):
    app = deployed(world, Behaviour(), "plain", uses_launcher=False)
    begun(app, "ls | wc -l")
    spec = world.engine.started[-1]
    assert (spec.entrypoint, spec.command) == (("/bin/sh",), ("-c", "ls | wc -l"))


@pytest.mark.parametrize(
    ("behaviour", "status", "code", "reason"),
    [
        (Behaviour(exit_code=0), RunStatus.SUCCEEDED, 0, ""),
        (Behaviour(exit_code=3), RunStatus.FAILED, 3, "It exited with 3"),
        (Behaviour(exit_code=137, oom_killed=True), RunStatus.FAILED, 137, "ran out of memory"),
    ],
)
def test_how_a_run_ended_is_written_down_and_its_container_goes(world, behaviour, status, code, reason):
    app = deployed(world, behaviour)
    run = begun(app)
    services.settle(run.container_id)
    run.refresh_from_db()
    assert (run.status, run.exit_code) == (status, code)
    assert reason in run.reason
    assert run.finished_at is not None
    assert containers(world) == []


def test_a_run_can_be_stopped_before_and_after_it_began(world: SimpleNamespace, app: App):
    waiting = services.start_run(app, "one", by=app.owner)
    services.stop_run(waiting, by=app.owner)
    services.begin(waiting.pk)
    waiting.refresh_from_db()
    assert (waiting.status, containers(world)) == (RunStatus.STOPPED, [])

    running = begun(app, "two")
    services.stop_run(running, by=app.owner)
    services.settle(running.container_id)
    running.refresh_from_db()
    assert (running.status, running.exit_code, containers(world)) == (RunStatus.STOPPED, 143, [])
    with pytest.raises(Conflict):
        services.stop_run(running, by=app.owner)


def test_a_run_that_takes_too_long_is_stopped(world: SimpleNamespace, app: App, sent_tasks):
    run = begun(app)
    late = timezone.now() - timedelta(seconds=settings.ENV.run_timeout_seconds + 1)
    Run.objects.filter(pk=run.pk).update(started_at=late)
    services.sweep()
    assert ("runs.settle", (run.container_id,)) in sent_tasks
    services.settle(run.container_id)
    run.refresh_from_db()
    assert run.status == RunStatus.FAILED
    assert "It was stopped after" in run.reason


def test_a_run_that_ended_in_time_is_not_late_because_nobody_looked(world: SimpleNamespace, app: App):
    run = begun(app)
    world.engine.end(run.container_id, exit_code=0)
    Run.objects.filter(pk=run.pk).update(started_at=timezone.now() - timedelta(days=1))
    services.settle(run.container_id)
    run.refresh_from_db()
    assert run.status == RunStatus.SUCCEEDED


def test_the_sweep_finds_what_nobody_heard_of(world: SimpleNamespace, app: App, sent_tasks):
    lost = services.start_run(app, "lost message", by=app.owner)
    Run.objects.filter(pk=lost.pk).update(created_at=timezone.now() - timedelta(minutes=1))
    gone, ended = begun(app, "container gone"), begun(app, "ended unseen")
    Run.objects.filter(pk=gone.pk).update(started_at=timezone.now() - timedelta(minutes=5))
    world.engine.remove(gone.container_id)
    world.engine.end(ended.container_id, exit_code=0)
    services.sweep()
    gone.refresh_from_db()
    assert (gone.status, gone.reason) == (RunStatus.FAILED, "Its container is gone; nobody saw how it ended.")
    assert ("runs.begin", (str(lost.pk),)) in sent_tasks
    assert ("runs.settle", (ended.container_id,)) in sent_tasks


def test_a_message_that_comes_twice_starts_one_container(world: SimpleNamespace, app: App):
    run = begun(app)
    services.begin(run.pk)
    assert containers(world) == ["run.1"]


def test_what_cannot_start_is_a_failed_run(world: SimpleNamespace):
    app = make_app()
    make_release(app)  # an image that no registry has
    run = begun(app)
    assert run.status == RunStatus.FAILED
    assert run.reason


def test_an_attached_run_is_in_the_history_too_and_leaves_nothing(world: SimpleNamespace):
    app = deployed(world, Behaviour(exit_code=5))
    with services.attached_run(app, "bash", by=app.owner, terminal=True) as session:
        assert session.wait() == 5
    run = app.runs.get()
    assert (run.status, run.exit_code, run.has_terminal, containers(world)) == (RunStatus.FAILED, 5, True, [])


def test_an_attached_run_ends_with_whoever_holds_it(world: SimpleNamespace, app: App):
    with pytest.raises(KeyboardInterrupt), services.attached_run(app, "bash", by=app.owner, terminal=False):
        raise KeyboardInterrupt
    assert app.runs.get().is_finished
    assert containers(world) == []


def test_a_run_has_variables_and_limits_of_its_own(world: SimpleNamespace, app: App):
    make_live(make_config(app, GREETING="Hello", WHO="all"))
    make_live(set_limits(app, {"web": {"memory_bytes": 256 * 1024 * 1024}}, by=app.owner))
    wishes = services.Wishes({"WHO": "you"}, process="web", timeout_seconds=30)
    run = services.start_run(app, "bin/work", by=app.owner, wishes=wishes)
    services.begin(run.pk)
    spec = world.engine.started[-1]
    assert (spec.environment["GREETING"], spec.environment["WHO"]) == ("Hello", "you")
    assert spec.limits.memory_bytes == 256 * 1024 * 1024
    Run.objects.filter(pk=run.pk).update(started_at=timezone.now() - timedelta(seconds=31))
    run.refresh_from_db()
    services.settle(run.container_id)
    run.refresh_from_db()
    assert (run.status, run.reason) == (RunStatus.FAILED, "It was stopped after 30 seconds.")
    assert run.environment == {}  # it may have held secrets


@pytest.mark.parametrize(
    "wishes",
    [
        services.Wishes({"1A": "x"}),
        services.Wishes({"A": "x\0"}),
        services.Wishes({"A": "x" * 40_000}),
        services.Wishes({f"A{n}": "x" for n in range(101)}),
        services.Wishes(process="nosuch"),
        services.Wishes(timeout_seconds=0),
        services.Wishes(timeout_seconds=10**6),
    ],
)
def test_wishes_that_can_not_be_met_are_refused(app: App, wishes: services.Wishes):
    with pytest.raises(InvalidInput):
        services.start_run(app, "ls", by=app.owner, wishes=wishes)
    assert not app.runs.exists()


def test_a_terminal_begins_with_the_size_of_the_clients(world: SimpleNamespace):
    app = deployed(world, Behaviour(exit_code=0))
    with services.attached_run(app, "top", by=app.owner, terminal=True, window=(30, 100)) as session:
        session.wait()
    assert world.engine.started[-1].command == ("run", "stty rows 30 cols 100 2>/dev/null; top")
    assert app.runs.get().command == "top"


def test_a_promised_terminal_is_for_whoever_knows_its_secret_and_for_once(world: SimpleNamespace):
    app = deployed(world, Behaviour(exit_code=0))
    run = services.promise_run(app, "bash", by=app.owner, terminal=True)
    secret = promise_terminal(run)
    assert claim_terminal("f" * 64) is None
    claimed = claim_terminal(secret)
    assert claimed == run
    assert claim_terminal(secret) is None
    with services.attach_to(claimed) as session:
        assert session.wait() == 0
    with pytest.raises(Conflict), services.attach_to(claimed):
        pass


def test_a_terminal_that_nobody_comes_for_is_given_up(world: SimpleNamespace, app: App, sent_tasks):
    run = services.promise_run(app, "bash", by=app.owner, terminal=True)
    services.sweep()
    run.refresh_from_db()
    assert run.status == RunStatus.PENDING
    Run.objects.filter(pk=run.pk).update(created_at=timezone.now() - timedelta(seconds=61))
    services.sweep()
    run.refresh_from_db()
    assert (run.status, run.reason) == (RunStatus.FAILED, "Nobody came for its terminal within 60 seconds.")
    assert sent_tasks == []
    with pytest.raises(Conflict), services.attach_to(run):
        pass


def test_a_terminal_whose_holder_died_is_ended_by_the_second_look(world: SimpleNamespace, app: App, sent_tasks):
    with services.attached_run(app, "bash", by=app.owner, terminal=True) as session:
        services.sweep()
        services.sweep()
        assert sent_tasks == []  # somebody holds it
        redis.take_flag(f"run:{session.run.pk}:held")
        services.sweep()
        assert sent_tasks == []  # Redis may have been away
        services.sweep()
        assert sent_tasks == [("runs.settle", (session.container_id,))]
        services.settle(session.container_id)
        run = app.runs.get()
        assert (run.status, run.exit_code, containers(world)) == (RunStatus.FAILED, 143, [])


def test_an_attached_run_with_a_deadline_is_stopped_at_it(world: SimpleNamespace, app: App):
    wishes = services.Wishes(timeout_seconds=30)
    with services.attached_run(app, "bash", by=app.owner, terminal=True, wishes=wishes) as session:
        Run.objects.update(started_at=timezone.now() - timedelta(seconds=31))
        session.run.refresh_from_db()
        services.settle(session.container_id)
        assert session.wait() == 143
    assert app.runs.get().reason == "It was stopped after 30 seconds."


def test_only_so_many_run_at_once_and_only_so_many_are_kept(world: SimpleNamespace, app: App, monkeypatch):
    for _ in range(services.MOST_AT_ONCE):
        begun(app)
    with pytest.raises(Conflict, match="are running already"):
        services.start_run(app, "one more", by=app.owner)
    Run.objects.update(status=RunStatus.SUCCEEDED)
    monkeypatch.setattr(services, "KEEP", 2)
    services.start_run(app, "one more", by=app.owner)
    assert [run.number for run in app.runs.all()] == [6, 5]


@pytest.mark.parametrize("command", ["", "   ", "a\0b", "x" * 4001])
def test_a_command_that_is_none_is_refused(app: App, command: str):
    with pytest.raises(InvalidInput):
        services.start_run(app, command, by=app.owner)


def test_nothing_runs_before_the_first_deploy(world: SimpleNamespace):
    app = make_app("empty")
    with pytest.raises(Conflict):
        services.start_run(app, "ls", by=app.owner)


def test_a_secret_on_the_command_line_is_masked_in_the_audit_log(app: App):
    make_live(make_config(app, API_TOKEN="tops3cret-tops3cret"))
    services.start_run(app, "curl -H tops3cret-tops3cret", by=app.owner)
    event = AuditEvent.objects.get(action="run.create")
    assert event.detail["command"] == "curl -H [API_TOKEN]"


def test_a_developer_runs_a_command_in_the_browser_and_sees_it_again(world: SimpleNamespace, app: App):
    developer = signed_in(share(app, "dora", Role.DEVELOPER))
    answer = developer.post(f"/apps/{app.name}/console", {"command": "bin/work --now"}, follow=True)
    assert answer.redirect_chain[-1][0] == f"/apps/{app.name}/console/1"
    assert b"bin/work --now" in answer.content
    assert b'data-tail="/streams/apps/hello/runs/1?after=' in answer.content
    services.begin(app.runs.get().pk)
    assert developer.get(f"/-/streams/apps/{app.name}/runs/1").json()["outcome"] is None
    assert developer.post(f"/apps/{app.name}/console/1/stop").status_code == 302
    services.settle(app.runs.get().container_id)
    assert developer.get(f"/-/streams/apps/{app.name}/runs/1").json()["outcome"]["status"] == "stopped"
    assert b"dora@example.com" in developer.get(f"/apps/{app.name}/console").content


def test_a_refused_command_is_told_beside_its_field(app: App):
    answer = signed_in(app.owner).post(f"/apps/{app.name}/console", {"command": " "})
    assert answer.status_code == 422
    assert b"field-error" in answer.content


def test_who_may_not_run_commands_may_not(app: App):
    begun(app)
    operator, viewer = share(app, "olga", Role.OPERATOR), share(app, "bob", Role.VIEWER)
    for user, page, deed in ((operator, 200, 403), (viewer, 403, 403), (make_user("charlie"), 404, 404)):
        client = signed_in(user)
        assert client.get(f"/apps/{app.name}/console").status_code == page
        assert client.get(f"/apps/{app.name}/console/1").status_code == page
        assert client.get(f"/-/streams/apps/{app.name}/runs/1").status_code == page
        assert client.post(f"/apps/{app.name}/console", {"command": "ls"}).status_code == deed
        assert client.post(f"/apps/{app.name}/console/1/stop").status_code == deed
    assert app.runs.count() == 1


def test_the_number_of_queries_does_not_grow_with_the_runs(app: App, django_assert_num_queries):
    client = signed_in(app.owner)
    client.get(f"/apps/{app.name}/console")
    begun(app)
    with django_assert_num_queries(20, exact=False) as one:
        client.get(f"/apps/{app.name}/console")
    for _ in range(3):
        begun(app)
    with django_assert_num_queries(len(one)):
        client.get(f"/apps/{app.name}/console")
