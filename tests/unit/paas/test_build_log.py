"""The build log: masked, live, and there for good."""

from __future__ import annotations

import uuid

from paas.builds.log import BuildLog, follow, read
from runtime.logs.mask import secrets_of


def test_a_watcher_sees_every_line_and_the_end_and_the_file_keeps_them():
    build = uuid.uuid4()
    log = BuildLog(build, secrets_of({"API_TOKEN": "hush-hush"}))
    log.write("one")
    log.write("two hush-hush\n")
    log.end(False, "deploy failed: hush-hush")
    log.close()
    seen = []
    for entry in follow(build, idle_seconds=0.01):
        seen.append((entry.text, entry.end))
        if entry.end:
            break
    assert seen == [("one", ""), ("two [API_TOKEN]", ""), ("deploy failed: [API_TOKEN]", "failed")]
    assert list(read(build)) == ["one", "two [API_TOKEN]"]


def test_a_watcher_hears_of_silence():
    assert next(follow(uuid.uuid4(), idle_seconds=0.01)) is None
