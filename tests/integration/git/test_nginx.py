"""The same through nginx, set up as the router sets it up for git."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from tests.integration.git.conftest import Clone, GitServer, ServerApp, interrupt, wait_until


def test_lines_arrive_one_by_one(server: GitServer, nginx: int, app: ServerApp, clone: Clone) -> None:
    app.script(lines=[f"step {number}" for number in range(4)], pause=0.15)
    result = clone.git("push", server.address(app.name, port=nginx), "main")
    assert result.status == 0, result.output
    times = [seen for seen, line in result.lines if "step" in line]
    assert times[-1] - times[0] > 0.3  # not all at the end
    assert len(set(times)) == len(times)
    assert app.head() == clone.head()


def test_a_silence_longer_than_the_proxys_patience_is_survived(
    server: GitServer, nginx: int, app: ServerApp, clone: Clone
) -> None:
    app.script(lines=["late"], pause=3.0)
    result = clone.git("push", server.address(app.name, port=nginx), "main")
    assert result.status == 0, result.output


def test_large_bodies_and_clones_pass(
    server: GitServer, nginx: int, app: ServerApp, clone: Clone, make_clone: Callable[..., Clone]
) -> None:
    clone.commit({"random": os.urandom(3 * 1024 * 1024)})
    url = server.address(app.name, port=nginx)
    clone.ok("push", url, "main")
    assert make_clone(url).head() == clone.head()
    app.fsck()


def test_a_push_over_the_size_limit_says_so(server: GitServer, nginx: int, app: ServerApp, clone: Clone) -> None:
    app.script(limits={"max_pack_bytes": 500_000})
    clone.commit({"random": os.urandom(3 * 1024 * 1024)})
    result = clone.git("push", server.address(app.name, port=nginx), "main")
    assert result.status == 1
    assert "pack exceeds maximum allowed size" in result.output
    assert app.files() == set()


def test_a_failed_deploy_rejects_the_push(server: GitServer, nginx: int, app: ServerApp, clone: Clone) -> None:
    app.script(outcome="failed", reason="build failed")
    result = clone.git("push", server.address(app.name, port=nginx), "main")
    assert result.status == 1
    assert re.search(r"\[remote rejected\] main -> main \(build failed\)", result.output)
    assert app.files() == set()


def test_a_client_that_leaves_is_noticed(server: GitServer, nginx: int, app: ServerApp, clone: Clone) -> None:
    app.hold.touch()
    process = clone.start("push", server.address(app.name, port=nginx), "main")
    wait_until(lambda: "started" in app.log(), "the push starts")
    interrupt(process)
    wait_until(lambda: "watching ended" in app.log(), "the server notices that the client has left")
    app.hold.unlink()
    wait_until(lambda: app.head() == clone.head(), "the job finishes the push")
