"""`git push`, with the real client: what it starts, what it says, and what it leaves alone."""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.harness import CHECKOUT, App, Platform, Push, git, steady_load, wait_until

LIVE_AFTER = re.compile(r"live after (\d+\.\d+) s")


def built_layers(app: App) -> set[str]:
    """Kinds of the layers that had to be uploaded for the newest release."""
    return {layer["kind"] for layer in app.image()[1] if not layer["reused"]}


def live_after(push: Push) -> float:
    match = LIVE_AFTER.search("\n".join(push.remote))
    assert match, f"no timing summary:\n{push.text}"
    return float(match.group(1))


def test_from_the_first_push_to_a_one_line_change(new_app: Callable[[], App]) -> None:
    app = new_app()
    commit = app.use("flask").set_version("one").commit("First.")
    first = app.push().succeeded()

    host = f"{app.host}:{app.platform.port}".removesuffix(":80")
    assert app.get().json == {"version": "one", "greeting": "Hello", "release": "v1", "host": host}
    assert any(app.name in line and "live" in line for line in first.remote), first.text
    assert app.name in {row["name"] for row in app.platform.json("apps")}, "the push should have created the app"
    assert git("ls-remote", app.platform.push_url(app.name), "refs/heads/main", cwd=app.folder).out.startswith(commit)
    times = {round(at, 2) for at, line in first.lines if line.startswith("remote:")}
    assert len(times) >= 3, f"the log came in one piece:\n{first.text}"

    again = app.push().succeeded()
    assert "Everything up-to-date" in again.text
    assert [row["version"] for row in app.releases()] == [1]

    with steady_load(app) as load:
        app.deploy(version="two")
        wait_until(lambda: any('"two"' in body for body in load.answers), "a visitor sees the new version")
    assert app.answers(version="two", release="v2")

    quiet = []
    for version in ("three", "four"):
        push = app.deploy(version=version)
        assert app.answers(version=version)
        assert built_layers(app) <= {"source"}, push.text
        for word in ("received", "built", "released"):
            assert re.search(rf"{word} \d+\.\d+ s", "\n".join(push.remote)), push.text
        quiet.append(max(live_after(push), 0))
    assert min(quiet) < 3, f"a source-only push took {quiet} s"
    app.comes_to_rest()


def test_the_same_commit_makes_the_same_image_bit_for_bit(new_app: Callable[[], App]) -> None:
    first, second, third = new_app(), new_app(), new_app()
    first.use("flask").set_version("same").commit("The same.")
    digests = []
    for app in (first, second, third):
        if app is third:
            app.platform.forget_pushes()
            app.platform.paas("cache:clear")
        url = app.platform.push_url(app.name)
        Push(first.folder, url).wait().succeeded()
        digests.append(app.image()[0])
    assert digests[0] == digests[1], "the second app got another image"
    assert digests[0] == digests[2], "without the build cache another image came out"


def test_the_log_arrives_live_and_ctrl_c_only_detaches(app: App) -> None:
    app.use_slow_build(6).set_version("one").commit()
    push = app.start_push()
    push.wait_for("tick 6", seconds=180)
    ticks = [at for at, line in push.lines if "building, tick" in line]
    gaps = [after - before for before, after in itertools.pairwise(ticks)]
    assert sum(gap > 0.2 for gap in gaps) >= 4, f"the lines did not come one by one:\n{push.text}"

    push.interrupt()
    push.failed()
    output = app.paas("builds:output").out
    assert "building, tick 1\n" in output
    assert "building, tick 12" in output
    assert "is live at" in output
    assert app.answers(version="one")
    assert app.builds()[-1]["status"] == "succeeded"
    app.comes_to_rest()


@pytest.mark.parametrize("kind", ["buildpack", "dockerfile"])
def test_a_cancel_really_stops_the_build(app: App, kind: str) -> None:
    mark = f"61.{abs(hash(app.name)) % 10**7:07d}"
    if kind == "buildpack":
        app.use("slow-build").edit("package.json", "node build.js", f"echo tick; sleep {mark}")
    else:
        app.use("dockerfile").edit(
            "Dockerfile", "FROM paas/python AS app", f"FROM page AS app\nRUN echo tick; sleep {mark}"
        )
    app.commit()
    push = app.start_push()
    wait_until(lambda: runs(f"sleep {mark}") or not push.is_running, "the step runs", seconds=180)
    assert push.is_running, push.text

    app.paas("builds:cancel")
    push.wait(20).failed()
    assert "cancel" in push.refusal.lower(), push.text
    wait_until(lambda: not runs(f"sleep {mark}"), "the step is dead", seconds=10)
    assert app.builds()[-1]["status"] == "cancelled"
    assert app.releases() == []
    app.comes_to_rest()


def runs(command: str) -> bool:
    """Whether a process of this machine, in a container or not, is exactly this."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().rstrip(b"\0").replace(b"\0", b" ") == command.encode():
                return True
        except OSError:
            continue
    return False


def test_of_three_quick_pushes_the_middle_one_is_superseded(app: App) -> None:
    app.use_slow_build(6)
    commits = [app.set_version(version).commit(version) for version in ("one", "two", "three")]

    def start(commit: str) -> Push:
        return app.start_push(f"{commit}:refs/heads/main")

    first = start(commits[0])
    first.wait_for("tick 1", seconds=180)
    second = start(commits[1])
    wait_until(lambda: len(app.builds()) == 2, "the second push waits")
    third = start(commits[2])
    second.failed()
    assert "supersede" in second.refusal, second.text
    first.succeeded()
    third.succeeded()
    assert app.answers(version="three")
    assert git("ls-remote", app.platform.push_url(app.name), "refs/heads/main", cwd=app.folder).out.startswith(commits[2])
    assert [row["status"] for row in app.builds()] == ["succeeded", "superseded", "succeeded"]
    app.comes_to_rest()


def test_clone_back_and_push_from_a_shallow_clone(app: App, tmp_path: Path) -> None:
    app.deploy("multi", "one")
    app.deploy(version="two")
    url = app.platform.push_url(app.name)
    git("clone", "-q", url, "whole", cwd=tmp_path)
    assert git("log", "--format=%H", cwd=tmp_path / "whole").out == git("log", "--format=%H", cwd=app.folder).out
    git("clone", "-q", "--depth", "1", url, "shallow", cwd=tmp_path)
    shallow = tmp_path / "shallow"
    assert git("rev-list", "--count", "HEAD", cwd=shallow).out.strip() == "1"
    (shallow / "web.py").write_text((shallow / "web.py").read_text().replace('"two"', '"three"'))
    git("commit", "-q", "-a", "-m", "From a shallow clone.", cwd=shallow)
    Push(shallow, url).wait().succeeded()
    assert app.answers(version="three")


def test_other_branches_and_tags_get_a_clear_sentence(steady: App) -> None:
    before = len(steady.releases())
    for ref in ("refs/heads/experiment", "refs/tags/v9"):
        push = steady.start_push(f"main:{ref}").wait()
        told = "\n".join(push.remote) + push.refusal
        assert "main" in told, f"{ref} was met without a word about the deploy branch:\n{push.text}"
    assert len(steady.releases()) == before
    assert steady.answers(version="good")


@pytest.fixture
def charlie(platform: Platform) -> str:
    """The token of somebody who has no access to anything of ours."""
    email = "charlie@example.com"
    code = (
        "from paas.accounts.models import User\n"
        "from paas.accounts.services import create_user\n"
        f"User.objects.filter(email={email!r}).exists() or create_user(email={email!r})\n"
    )
    subprocess.run(
        [CHECKOUT / ".venv/bin/python", CHECKOUT / "manage.py", "shell", "-c", code], check=True, capture_output=True
    )
    return platform.paas("tokens:create", "--email", email, "--name", "test", "--days", "1").out.strip()


def test_a_wrong_token_and_a_foreign_app_are_turned_away(steady: App, charlie: str) -> None:
    before = len(steady.builds())
    steady.set_version("stolen").commit()
    wrong = steady.start_push(token="paas_" + "0" * 40).failed()
    assert "Authentication failed" in wrong.text or "401" in wrong.text, wrong.text
    assert wrong.remote, f"not a word about where to get a token:\n{wrong.text}"
    foreign = steady.start_push(token=charlie).failed()
    assert "not found" in foreign.text.lower(), foreign.text
    assert foreign.remote, foreign.text
    cloned = git("clone", steady.platform.push_url(steady.name, charlie), "x", cwd=steady.folder.parent, check=False)
    assert cloned.code != 0
    assert len(steady.builds()) == before
    assert steady.answers(version="good")
