"""Dockerfiles, built by the engine's BuildKit and released by digest."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.builder.api import BuildLimits, BuildResult
from runtime.errors import BuildCancelled, BuildFailed
from tests.integration.builder.conftest import Bench
from tests.unit.runtime.builder.trees import DirectoryTree, Recorder

pytestmark = pytest.mark.engine

Run = Callable[[BuildResult, str], str]
SAMPLE = DirectoryTree.of(Path(__file__).parents[2] / "sample_apps" / "dockerfile")


def test_stages_arguments_ignored_files_and_the_stacks_of_ours(bench: Bench, run_in: Run) -> None:
    result, console = bench.build(SAMPLE, environment={"EDITION": "second"})
    assert result.buildpacks == ("dockerfile",)
    assert not result.launcher
    assert tuple(result.default_process) == ("python3", "server.py")
    assert any("RUN python3 make_page.py" in line for line in console.lines), console.text
    assert not any("exit 9" in line for line in console.lines), "a stage that nobody needs was built"
    said = run_in(result, "cat public/index.html; find . -type f")
    assert "Edition: second" in said
    assert "./private/shown.txt" in said
    assert "hidden.txt" not in said
    assert "NOTES.md" not in said

    edited = SAMPLE.with_files({"server.py": SAMPLE.files["server.py"] + b"\n# changed\n"})
    again, console = bench.build(edited, repository=result.repository, environment={"EDITION": "second"})
    assert any("(cached)" in line for line in console.lines), console.text
    assert [layer.reused for layer in again.layers][:-1].count(False) == 0, again.layers


def test_secrets_ports_health_and_target(bench: Bench, run_in: Run) -> None:
    secret = "a-canary-in-a-docker-mine"
    tree = DirectoryTree(
        {
            "app.json": json.dumps({"build": {"dockerfile": "docker/App", "target": "app"}}),
            "docker/App": "FROM paas/python AS app\nARG TOKEN=unset\n"
            "RUN --mount=type=secret,id=TOKEN test $(wc -c < /run/secrets/TOKEN) = 25 && "
            # Secrets are no part of BuildKit's cache keys, so the line has to be a new one to be run.
            f"echo it says $(cat /run/secrets/TOKEN) {os.urandom(8).hex()}\n"
            "RUN echo argument $TOKEN\n"
            'EXPOSE 8000\nHEALTHCHECK CMD true\nCMD ["python3", "-V"]\n'
            "FROM app AS last\nRUN exit 9\n",
            "Procfile": "worker: python3 -V\n",
        }
    )
    result, console = bench.build(tree, environment={"TOKEN": secret})
    assert result.exposed_port == 8000
    assert result.has_image_health_check
    assert dict(result.process_types) == {"worker": "python3 -V"}
    assert "it says [TOKEN]" in console.text
    assert "argument unset" in console.text
    assert "ARG TOKEN does not get the config var" in console.text
    assert secret not in console.text
    image = bench.registry.get_image(result.repository, result.digest)
    assert secret.encode() not in image.config + image.manifest
    for layer in image.layers[2:]:
        content = b"".join(bench.registry.get_blob(result.repository, layer.digest))
        assert secret.encode() not in gzip.decompress(content)
    history = subprocess.run(
        ["docker", "history", "--no-trunc", bench.reference(result)], capture_output=True, text=True, check=True
    )
    assert secret not in history.stdout


def test_run_lines_reach_registries_as_the_host_does(bench: Bench) -> None:
    assert bench.host.ca_bundle is not None, "this system has no bundle of certificates"
    size = bench.host.ca_bundle.stat().st_size
    script = (
        f'test "$(wc -c < "$SSL_CERT_FILE")" = {size} && python3 -c "import ssl; '
        f"assert ssl.create_default_context().cert_store_stats()['x509_ca']\" && echo trusted {os.urandom(8).hex()}"
    )
    result, console = bench.build(
        DirectoryTree({"Dockerfile": f'FROM paas/python\nRUN {script}\nCMD ["true"]\n'}), environment={"A": "1"}
    )
    assert any(line.strip().startswith("trusted ") for line in console.lines), console.text
    image = bench.registry.get_image(result.repository, result.digest)
    for layer in image.layers[2:]:
        content = gzip.decompress(b"".join(bench.registry.get_blob(result.repository, layer.digest)))
        assert b"BEGIN CERTIFICATE" not in content


def test_a_failing_step_is_told_with_its_code(bench: Bench) -> None:
    with pytest.raises(BuildFailed) as failed:
        bench.build(DirectoryTree({"Dockerfile": "FROM paas/python\nRUN echo so far so good; exit 7\n"}))
    assert failed.value.id == "dockerfile_failed"
    assert "7" in failed.value.message
    assert "exit 7" in failed.value.message


def test_a_line_that_is_none_is_told(bench: Bench) -> None:
    with pytest.raises(BuildFailed) as failed:
        bench.build(DirectoryTree({"Dockerfile": "FROM paas/python\nRUNN true\n"}))
    assert failed.value.id == "dockerfile_failed"
    assert "RUNN" in failed.value.message.upper()


def test_a_base_image_that_cannot_be_had_is_named(bench: Bench) -> None:
    with pytest.raises(BuildFailed) as failed:
        bench.build(DirectoryTree({"Dockerfile": "FROM 127.0.0.1:1/no/such:thing\nRUN true\n"}))
    assert failed.value.id == "base_image_unavailable"
    assert "127.0.0.1:1/no/such:thing" in failed.value.message
    assert "paas/python" in failed.value.hint


@pytest.mark.parametrize("why", ["cancel", "deadline"])
def test_a_build_that_hangs_can_be_ended(bench: Bench, why: str) -> None:
    marker = f"sleep 30{abs(hash(why)) % 1000:03d}"
    tree = DirectoryTree({"Dockerfile": f"FROM paas/python\nRUN echo it hangs && {marker}\n"})
    started = time.monotonic()
    if why == "cancel":
        with pytest.raises(BuildCancelled):
            bench.build(tree, Recorder(stop_when="it hangs", stop=BuildCancelled("The build was cancelled.")))
    else:
        with pytest.raises(BuildFailed) as failed:
            bench.build(tree, limits=BuildLimits(deadline_seconds=8))
        assert failed.value.id == "build_timeout"
    assert time.monotonic() - started < 30
    until = time.monotonic() + 10
    while subprocess.run(["pgrep", "-x", "-f", marker], capture_output=True, check=False).returncode == 0:
        assert time.monotonic() < until, "the step still runs"
        time.sleep(0.1)
