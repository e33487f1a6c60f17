"""kill -9 of our own processes: nothing is lost, nothing hangs."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import pytest

from tests.e2e.harness import App, wait_until

pytestmark = pytest.mark.alone


def kill(pids: list[int]) -> None:
    assert pids, "there was nothing to kill"
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_build_survives_the_death_of_its_worker(app: App) -> None:
    app.use_slow_build(8).set_version("one").commit()
    push = app.start_push()
    push.wait_for("tick 2", seconds=180)
    kill(app.platform.processes("builder"))
    killed = time.monotonic()
    push.wait(75)
    assert time.monotonic() - killed < 60 + 8, push.text
    if push.code == 0:
        assert app.answers(version="one")
    else:
        assert push.refusal, f"no clear result:\n{push.text}"
        assert push.complaints
    wait_until(lambda: app.platform.processes("builder"), "there is a worker again", seconds=30)
    app.comes_to_rest(30)
    app.deploy(version="two")
    assert app.answers(version="two")


def test_a_push_outlives_the_git_server(app: App) -> None:
    app.use_slow_build(5).set_version("one").commit()
    push = app.start_push()
    push.wait_for("tick 2", seconds=180)
    kill(app.platform.processes("git"))
    push.failed()
    wait_until(lambda: app.builds()[-1]["status"] == "succeeded", "the job has finished", seconds=60)
    assert app.answers(version="one")
    wait_until(lambda: app.platform.processes("git"), "there is a git server again", seconds=30)
    wait_until(lambda: "up-to-date" in app.push().text, "git works again and the branch has moved", seconds=30)
    app.comes_to_rest()
