"""The protocol over something that is not HTTP."""

from __future__ import annotations

import os
import sys

from tests.integration.git.conftest import PROJECT, Clone, ServerApp


def address(app: ServerApp) -> str:
    return f"ext::env PYTHONPATH={PROJECT} {sys.executable} -m tests.integration.git.pipe_server {app.repository}"


def test_a_push_over_a_two_way_pipe(app: ServerApp, clone: Clone) -> None:
    clone.ok("config", "protocol.ext.allow", "always")
    clone.commit({"random": os.urandom(2 * 1024 * 1024)})
    output = clone.ok("push", address(app), "main")
    assert "remote: through a pipe" in output
    assert app.head() == clone.head()
    assert "Everything up-to-date" in clone.ok("push", address(app), "main")
    clone.commit()
    clone.ok("push", address(app), "main")
    app.fsck()
