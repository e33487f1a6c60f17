"""A build from the push to the moved branch, with a scripted builder; the job finishes the push, whatever happens."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.utils import timezone

from paas import wiring
from paas.apps.selectors import repository_path
from paas.builds import services
from paas.builds.log import read
from paas.builds.models import Build
from paas.builds.selectors import outcome
from paas.config.services import change_config
from paas.core import audit
from paas.releases.models import Image, Release
from paas.releases.services import fail_release, finish_release, start_release
from runtime.builder.api import BuildConsole, BuildRequest, BuildResult, LayerInfo
from runtime.errors import BootFailed, BuildFailed, Conflict
from runtime.git.api import Push, RefUpdate
from runtime.git.repository import create_repository, ref_value
from tests.factories import make_app

pytestmark = pytest.mark.django_db(transaction=True)
ZERO = "0" * 40


class ScriptedBuilder:
    """Makes an image of nothing, after doing what the test says."""

    def __init__(self) -> None:
        self.script: Callable[[BuildRequest, BuildConsole], None] = lambda request, console: None
        self.requests: list[BuildRequest] = []

    def build(self, request: BuildRequest, console: BuildConsole) -> BuildResult:
        self.requests.append(request)
        console.step("Python app detected")
        self.script(request, console)
        console.check()
        return BuildResult(
            digest=f"sha256:{len(self.requests):064x}", repository=request.repository, size=1000,
            layers=[LayerInfo("source", "sha256:1", 10, reused=False)], process_types={"web": "serve"},
            release_command="", default_process=(), exposed_port=0, health_checks={}, stack="debian-13",
            buildpacks=("python",), launcher=True, has_image_health_check=False, seconds={},
        )  # fmt: skip


def git(cwd: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Alice", "-c", "user.email=alice@example.com"]
    done = subprocess.run(["git", *identity, *arguments], cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def world(tmp_path, sent_tasks, monkeypatch) -> Iterator[SimpleNamespace]:
    """An app whose repository holds one commit that no branch points to yet; releases go live as soon as asked for."""
    from paas.celery import celery_app

    builder = ScriptedBuilder()
    app = make_app()
    repository = repository_path(app)
    create_repository(repository, "main")
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "-q", "-b", "main")
    world = SimpleNamespace(app=app, builder=builder, repository=repository, sent=sent_tasks, fate=finish_release)

    def commit(text: str) -> str:
        (work / "app.py").write_text(text)
        git(work, "add", ".")
        git(work, "commit", "-q", "-m", f"Say {text}")
        git(work, "push", "-q", "--force", str(repository), "HEAD:refs/heads/incoming")
        git(repository, "update-ref", "-d", "refs/heads/incoming")
        return git(work, "rev-parse", "HEAD")

    def push(new: str, old: str = ZERO) -> Build:
        update = Push(repository, None, RefUpdate("refs/heads/main", old, new))
        with audit.through("ssh"):
            return services.start_push_build(app, update, by=app.owner, received_seconds=0.1)

    def send(name: str, args: tuple[str, ...] = (), **_: object) -> None:
        sent_tasks.append((name, tuple(args)))
        if name == "convergence.converge":
            for release in Release.objects.filter(app_id=args[0], status="pending"):
                start_release(release)
                world.fate(release)

    monkeypatch.setattr(celery_app, "send_task", send)
    world.commit, world.push = commit, push
    with wiring.replaced(builder=builder):
        yield world


def run(build: Build) -> Build:
    services.run_build(str(build.pk))
    build.refresh_from_db()
    return build


def test_a_push_ends_with_a_release_and_the_branch_moved(world):
    commit = world.commit("one")
    build = run(world.push(commit))
    assert (build.status, build.release.version, build.image.commit) == ("succeeded", 1, commit)
    assert ref_value(world.repository, "refs/heads/main") == commit
    assert outcome(build) == (True, "")
    log = list(read(build.pk))
    assert "-----> Python app detected" in log
    assert any(line.startswith("       received 0.10 s, built") for line in log)
    assert (build.release.description, build.release.door) == (f"Deploy {commit[:8]} Say one", "ssh")


def test_an_image_that_was_collected_is_back_when_its_commit_is_built_again(world):
    build = run(world.push(world.commit("one")))
    # As if this had been the digest that the builder will give next.
    gone = {"digest": f"sha256:{2:064x}", "collected_at": timezone.now(), "is_in_registry": False}
    Image.objects.filter(pk=build.image.pk).update(**gone)
    again = run(world.push(world.commit("two")))
    assert again.image == build.image
    assert (again.image.collected_at, again.image.is_in_registry) == (None, True)


def test_the_config_is_there_at_build_time_and_masked_in_the_log(world):
    change_config(world.app, {"API_TOKEN": "canary-4711"}, by=world.app.owner)
    world.builder.script = lambda request, console: console.line(f"token {request.environment['API_TOKEN']}")
    build = run(world.push(world.commit("one")))
    assert "       token [API_TOKEN]" in list(read(build.pk))


def test_a_failed_build_says_why_and_moves_nothing(world):
    def fail(request: BuildRequest, console: BuildConsole) -> None:
        raise BuildFailed("No buildpack recognised this app.", hint="Add one.", id="no_buildpack")

    world.builder.script = fail
    build = run(world.push(world.commit("one")))
    assert (build.status, build.error_id) == ("failed", "no_buildpack")
    assert list(read(build.pk))[-2:] == [" !     No buildpack recognised this app.", " !     Add one."]
    assert outcome(build) == (False, "deploy failed: No buildpack recognised this app.")
    assert ref_value(world.repository, "refs/heads/main") is None
    assert world.app.releases.count() == 0


def test_a_release_that_fails_fails_the_push(world):
    world.fate = lambda release: fail_release(
        release, BootFailed("web.1 exited with 3.", hint="Look.", id="boot_crashed")
    )
    build = run(world.push(world.commit("one")))
    assert (build.status, build.error_id, build.reason) == ("failed", "boot_crashed", "web.1 exited with 3.")
    assert ref_value(world.repository, "refs/heads/main") is None


def test_a_config_change_during_the_deploy_carries_it_along(world):
    def change_meanwhile(release):
        world.fate = finish_release
        change_config(world.app, {"A": "1"}, by=world.app.owner)

    world.fate = change_meanwhile
    commit = world.commit("one")
    build = run(world.push(commit))
    assert (build.status, build.release.version, build.release.config) == ("succeeded", 2, {"A": "1"})
    assert ref_value(world.repository, "refs/heads/main") == commit


def test_a_mistake_of_ours_is_said_without_a_traceback(world):
    def break_(request: BuildRequest, console: BuildConsole) -> None:
        raise RuntimeError("secret internals")

    world.builder.script = break_
    build = run(world.push(world.commit("one")))
    assert (build.status, build.error_id) == ("failed", "internal_error")
    assert not any("internals" in line for line in read(build.pk))


def test_a_newer_push_supersedes_one_that_waits(world):
    first = world.push(world.commit("one"))
    second = world.push(world.commit("two"))
    first.refresh_from_db()
    assert first.status == "superseded"
    assert outcome(first) == (False, "superseded")
    assert run(first).status == "superseded"
    assert run(second).status == "succeeded"


def test_builds_of_one_app_run_one_at_a_time_and_wake_the_next(world):
    waiting: list[Build] = []

    def push_another(request: BuildRequest, console: BuildConsole) -> None:
        if not waiting:
            waiting.append(world.push(world.commit("two")))
            assert run(waiting[0]).status == "pending"

    first = world.push(world.commit("one"))
    world.builder.script = push_another
    assert run(first).status == "succeeded"
    assert world.sent[-1] == ("builds.run_build", (str(waiting[0].pk),))
    assert run(waiting[0]).status == "succeeded"


def test_a_push_that_the_branch_has_overtaken_is_refused_before_it_is_built(world):
    one, other = world.commit("one"), world.commit("two")
    assert run(world.push(other)).status == "succeeded"
    late = run(world.push(one))
    assert (late.status, late.error_id) == ("failed", "fetch_first")
    assert len(world.builder.requests) == 1


def test_a_waiting_build_can_be_cancelled_and_a_finished_one_not(world):
    build = world.push(world.commit("one"))
    services.cancel_build(build, by=world.app.owner)
    build.refresh_from_db()
    assert build.status == "cancelled"
    with pytest.raises(Conflict):
        services.cancel_build(build, by=world.app.owner)


def test_a_build_whose_worker_died_is_taken_up_where_it_stopped(world):
    build = world.push(world.commit("one"))
    claimed = services._claim(build.pk)
    assert services._claim(build.pk) is None
    Build.objects.filter(pk=claimed.pk).update(claimed_until=timezone.now() - timedelta(seconds=1))
    world.sent.clear()
    assert services.take_up_lost_builds() == 1
    assert world.sent == [("builds.run_build", (str(build.pk),))]
    assert run(build).status == "succeeded"
    assert any("another one goes on" in line for line in read(build.pk))


def test_a_worker_that_lost_its_claim_leaves_the_build_to_the_other(world):
    def lose_it(request: BuildRequest, console: BuildConsole) -> None:
        Build.objects.update(claimed_by="another")
        raise BuildFailed("Our own trouble.")

    world.builder.script = lose_it
    build = run(world.push(world.commit("one")))
    assert (build.status, build.claimed_by, build.error_id) == ("building", "another", "")


def test_a_build_that_kills_its_worker_again_and_again_ends_with_a_reason(world):
    build = world.push(world.commit("one"))
    Build.objects.filter(pk=build.pk).update(attempts=services.MAX_ATTEMPTS)
    assert run(build).error_id == "worker_died"
