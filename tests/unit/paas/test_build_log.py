"""The build log: masked, live, and there for good."""

from __future__ import annotations

import uuid

from paas.builds.log import BuildLog, follow, masked, read, secrets_of


def test_secrets_are_masked_and_plain_words_are_not():
    secrets = secrets_of(
        {"API_KEY": "abc123xyz", "NODE_ENV": "production", "PIN": "12", "SEED": "9f8e7d6c5b4a39281706", "DEBUG": "true"}
    )
    line = "key abc123xyz in production with 9f8e7d6c5b4a39281706, 12 and true"
    assert masked(line, secrets) == "key [API_KEY] in production with [SEED], 12 and true"


def test_each_line_of_a_secret_of_several_lines_is_masked():
    secrets = secrets_of({"PRIVATE_KEY": "-----BEGIN-----\nMIIEvQIBADAN\n-----END-----"})
    assert masked("saw MIIEvQIBADAN", secrets) == "saw [PRIVATE_KEY]"


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
