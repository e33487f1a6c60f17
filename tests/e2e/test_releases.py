"""Everything that changes what runs is a release, or at least goes the same careful way."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time

import pytest

from tests.e2e.harness import CHECKOUT, App, steady_load, wait_until


def ids(app: App, process: str = "") -> set[str]:
    return {container["Id"] for container in app.instances(process)}


def test_config_changes_and_rollbacks_are_releases_without_a_failed_request(app: App) -> None:
    app.deploy("multi", "one")
    with steady_load(app):
        app.paas("config:set", "GREETING=Hej", "COLOUR=blue sky")
        assert app.answers(version="one", greeting="Hej", release="v2")
        app.deploy(version="two")
        assert app.answers(version="two", greeting="Hej", release="v3")
        app.paas("config:set", "GREETING=Salut")
        app.paas("config:unset", "COLOUR")
        assert app.answers(version="two", greeting="Salut", release="v5")
        assert app.json("config") == {"GREETING": "Salut"}

        started = time.monotonic()
        app.paas("rollback", "v2")
        seconds = time.monotonic() - started
        assert app.answers(version="one", greeting="Hej", release="v6")
        assert seconds < 10
    assert app.json("config") == {"GREETING": "Hej", "COLOUR": "blue sky"}, "a rollback restores the config as well"
    assert [row["version"] for row in app.releases()] == [1, 2, 3, 4, 5, 6]
    assert {row["status"] for row in app.releases()} == {"succeeded"}

    app.paas("rollback")
    assert app.answers(version="two", greeting="Salut"), "without a version: the release before"

    refused = app.paas("rollback", "v99", check=False)
    assert refused.code == 1
    assert "v99" in refused.err
    app.comes_to_rest()


def test_fifty_rollbacks_lose_no_request(app: App) -> None:
    app.deploy("static", "one")
    app.deploy(version="two")
    with steady_load(app) as load:
        for number in range(50):
            app.paas("rollback", f"v{1 + number % 2}")
    assert load.requests > 1000
    assert [row["status"] for row in app.json("releases", "-n", "100")] == ["succeeded"] * 52
    assert "Version two" in app.get().text
    app.comes_to_rest()


def test_a_rollback_says_what_it_would_change_and_restores_a_choice(app: App) -> None:
    app.deploy("multi", "one", message="Serve one.")
    app.paas("config:set", "GREETING=canary-old")
    app.deploy(version="two", message="Serve two.")
    app.paas("config:set", "GREETING=canary-new", "EXTRA=1")
    shown = app.paas("rollback", "v2", "--dry-run").out
    assert re.search(r"^code: \w{8} → \w{8}, back by 1 commit$", shown, re.MULTILINE), shown
    assert "Serve two. (Alice, 2026-01-01)" in shown
    assert "config EXTRA removed" in shown
    assert "canary" not in shown
    app.paas("rollback", "v2", "--only", "code")
    assert app.answers(version="one", greeting="canary-new", release="v5")
    app.paas("rollback", "v2", "--only", "config", "--why", "It was too new.")
    assert app.answers(version="one", greeting="canary-old", release="v6")
    assert app.json("releases:info")["why"] == "It was too new."
    assert app.paas("rollback", "v2", "--only", "data", check=False).code == 1
    app.comes_to_rest()


def test_tags_reach_the_registry_and_lead_back(app: App) -> None:
    app.deploy("static", "one")
    first = app.json("releases:info")["image"]
    app.paas("tags:add", "stable")
    app.deploy(version="two")
    with app.platform.registry() as registry:
        ((repository,),) = app.platform.rows(
            "select distinct i.repository from releases_image i join apps_app a on a.id = i.app_id where a.name = ?",
            app.name,
        )
        wanted = {"v1", "v2", "latest", "stable"}
        wait_until(lambda: wanted <= set(registry.tags(repository)), "the registry has the tags")
        assert registry.head_manifest(repository, "stable") == first
        app.paas("deploy", "--tag", "stable")
        assert "Version one" in app.get().text
        app.paas("tags:protect", "stable")
        assert app.paas("tags:remove", "stable", check=False).code == 1
        app.paas("tags:protect", "--off", "stable")
        app.paas("tags:remove", "stable")
        wait_until(lambda: "stable" not in registry.tags(repository), "the tag is gone from the registry")
        assert registry.head_manifest(repository, first) == first, "the image is not"
    app.comes_to_rest()


@pytest.mark.alone  # collecting garbage waits until nobody builds
def test_what_nobody_can_go_back_to_leaves_registry_and_engine(app: App) -> None:
    app.deploy("flask", "one")
    app.use("fails-exit").commit("It ends at once.")
    app.push().failed()
    failed = app.json("releases:info", "v2")["image"]
    reference = next(name for name in references(app) if name.endswith(failed))
    with steady_load(app):
        assert failed[:19] in app.platform.paas("cleanup", "--dry-run").out
        app.platform.forget_pushes()
        app.platform.paas("cleanup")
    assert reference not in references(app)
    assert app.json("releases:info", "v2")["image_collected_at"]
    app.deploy("flask", "two")
    app.paas("rollback", "v1")
    assert app.answers(version="one")
    app.comes_to_rest()


def references(app: App) -> set[str]:
    """Of the images that the engine has of this platform."""
    images = app.platform.engine.api.images()
    ours = f"127.0.0.1:{app.platform.env.registry_port}/apps/"
    return {name for image in images for name in image["RepoDigests"] or () if name.startswith(ours)}


def test_all_process_types_are_replaced_scaled_and_restarted_under_load(app: App) -> None:
    app.deploy("multi", "one")
    assert len(ids(app, "web")) == len(ids(app, "worker")) == 1
    with steady_load(app):
        before = ids(app)
        app.deploy(version="two")
        wait_until(lambda: not before & ids(app), "the old instances are gone")
        assert len(ids(app, "web")) == len(ids(app, "worker")) == 1
        wait_until(lambda: "worker: version two tick" in app.paas("logs", "-n", "100").out, "the new worker's log")

        before = ids(app)
        app.paas("ps:scale", "web=2", "worker=2")
        wait_until(lambda: len(ids(app, "web")) == len(ids(app, "worker")) == 2, "two of each run")
        assert before < ids(app), "scaling up must not touch what runs"
        shown = app.paas("ps").out
        assert all(name in shown for name in ("web.1", "web.2", "worker.1", "worker.2")), shown

        before = ids(app)
        app.paas("ps:restart")
        wait_until(lambda: len(ids(app)) == 4 and not before & ids(app), "all four are new", seconds=60)

        app.paas("ps:scale", "web=1", "worker=0")
        wait_until(lambda: len(ids(app, "web")) == 1 and not ids(app, "worker"), "one web is left", seconds=45)
    app.deploy(version="three")
    app.comes_to_rest(45)
    assert len(ids(app, "web")) == 1
    assert not ids(app, "worker"), "a deploy keeps the scale"


def test_one_off_runs_give_their_output_and_exit_code(steady: App) -> None:
    script = "import os; print(6 * 7, os.environ['GREETING']); raise SystemExit(5)"
    steady.paas("config:set", "GREETING=Ciao")
    done = steady.paas("run", "--", "python", "-c", script, check=False)
    assert done.code == 5, done.text
    assert "42 Ciao" in done.out
    missing = steady.paas("run", "--", "no-such-program", check=False)
    assert missing.code not in {0, 70}
    steady.paas("config:unset", "GREETING")
    steady.comes_to_rest()


def test_logs_show_what_the_processes_say_and_follow_them(steady: App) -> None:
    recent = steady.paas("logs", "-p", "web", "-n", "200").out + steady.paas("logs", "-p", "worker", "-n", "5").out
    assert re.search(r"web\.1.*web: version good listens", recent), recent[-2000:]
    assert re.search(r"worker\.1.*worker: version good tick", recent), recent[-2000:]
    tail = subprocess.Popen(
        [CHECKOUT / "bin" / "paas", "logs", "-a", steady.name, "-t"], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )
    assert tail.stdout is not None
    with tail, tail.stdout:
        arrivals = []
        for line in tail.stdout:
            arrivals += [time.monotonic()] * ("tick" in line)
            if len(arrivals) >= 3 and arrivals[-1] - arrivals[0] > 1.5:
                break
        tail.send_signal(signal.SIGINT)
    assert arrivals[-1] - arrivals[0] > 1.5


def test_a_killed_instance_comes_back(steady: App) -> None:
    (victim,) = ids(steady, "web")
    steady.platform.engine.api.kill(victim)
    wait_until(lambda: ids(steady, "web") - {victim} and steady.answers(version="good"), "another one serves")
    steady.comes_to_rest()


def test_the_command_line_says_what_is_wrong(steady: App) -> None:
    platform = steady.platform
    for arguments, word in (
        (("releases", "-a", "no-such-app"), "no-such-app"),
        (("config:set", "-a", steady.name, "1BAD=x"), "1BAD"),
        (("config:set", "-a", steady.name, "PORT=80"), "PORT"),
        (("ps:scale", "-a", steady.name, "nothing=1"), "nothing"),
        (("apps:create", "Not_A_Name"), "Not_A_Name"),
        (("apps:create", "git"), "git"),
        (("apps:create", steady.name), steady.name),
        (("apps:destroy", steady.name, "--confirm", "other"), "other"),
        (("builds:cancel", "-a", steady.name), "over"),
    ):
        done = platform.paas(*arguments, check=False)
        assert done.code == 1, f"{arguments}: {done.text}"
        assert word in done.err, done.err
        assert "Traceback" not in done.text
    assert json.dumps(steady.releases())
    assert steady.answers(version="good")
