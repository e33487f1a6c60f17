"""Python apps, from source to an image that runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import uv

from runtime.builder.api import BuildLimits, BuildResult
from runtime.engine.docker import DockerEngine
from runtime.errors import BuildCancelled, BuildFailed
from tests.integration.builder.conftest import CA_BUNDLE, RUN, Bench
from tests.unit.runtime.builder.trees import DirectoryTree, Recorder

pytestmark = pytest.mark.engine

FLASK = DirectoryTree(
    {
        "requirements.txt": "flask==3.1.3\ngunicorn==27.0.1\n",
        "Procfile": "web: gunicorn app:app\nworker: python app.py\nrelease: python -V\n",
        "app.py": "import flask\nVERSION = 1\napp = flask.Flask(__name__)\nprint('flask is here', VERSION)\n",
    }
)


def never_seen(tree: DirectoryTree, name: str = "requirements.txt") -> DirectoryTree:
    """The same app, with a lock file that no other test has had installed."""
    return tree.with_files({name: tree.files[name] + b"# " + os.urandom(8).hex().encode() + b"\n"})


def kinds(result: BuildResult) -> list[tuple[str, bool]]:
    return [(layer.kind, layer.reused) for layer in result.layers]


def test_a_flask_app_is_built_once_and_then_only_its_source(
    bench: Bench, run_in: Callable[[BuildResult, str], str]
) -> None:
    repository = "apps/flask"
    app = never_seen(FLASK)
    cold, console = bench.build(app, repository=repository)
    assert kinds(cold)[-2:] == [("dependencies", False), ("source", False)], console.text
    assert "-----> Python app detected" in console.lines
    assert "       Using Python 3.13" in console.lines
    assert "-----> Installing dependencies from requirements.txt" in console.lines
    assert "       Procfile declares types: web, worker" in console.lines
    assert dict(cold.process_types) == {"web": "gunicorn app:app", "worker": "python app.py"}
    assert cold.release_command == "python -V"
    assert cold.launcher
    assert "flask is here 1" in run_in(cold, "python app.py")
    assert "1000" in run_in(cold, "id -u; touch /app/mine; stat -c %u /app/app.py")

    warm, console = bench.build(app, repository=repository)
    assert warm.digest == cold.digest
    assert {reused for _, reused in kinds(warm)} == {True}, console.text

    edited = app.with_files({"app.py": app.files["app.py"].replace(b"VERSION = 1", b"VERSION = 2")})
    started = time.monotonic()
    changed, console = bench.build(edited, repository=repository)
    seconds = time.monotonic() - started
    assert [kind for kind, reused in kinds(changed) if not reused] == ["source"], console.text
    assert any("Dependencies unchanged" in line for line in console.lines)
    assert changed.digest != cold.digest
    assert "flask is here 2" in run_in(changed, "python app.py")
    assert seconds < 5, console.text


def test_a_fresh_build_takes_nothing_that_is_kept_and_keeps_what_it_makes(bench: Bench) -> None:
    repository = "apps/fresh"
    app = never_seen(FLASK)
    cold, _ = bench.build(app, repository=repository)
    fresh, console = bench.build(app, repository=repository, fresh=True)
    assert ("dependencies", False) in kinds(fresh), console.text
    assert "-----> The cache was cleared: everything is made anew" in console.lines
    assert fresh.digest == cold.digest
    warm, console = bench.build(app, repository=repository)
    assert {reused for _, reused in kinds(warm)} == {True}, console.text


def test_layers_that_were_collected_since_the_last_build_are_published_again(
    bench: Bench, folder: Path, run_in: Callable[[BuildResult, str], str]
) -> None:
    repository = "apps/collected"
    bench.build(FLASK, repository=repository)
    blobs = folder / "registry" / "docker" / "registry" / "v2" / "repositories" / repository / "_layers"
    shutil.rmtree(blobs)
    changed, _ = bench.build(FLASK.with_files({"app.py": b"print('changed')\n"}), repository=repository)
    assert "changed" in run_in(changed, "python app.py")


def test_the_digest_depends_on_source_and_stack_alone(bench: Bench, folder: Path) -> None:
    here, _ = bench.build(FLASK, repository="apps/one", environment={"GREETING": "Hello", "LONG": "x" * 20})
    there, console = bench.build(FLASK, repository="apps/two")
    assert here.digest == there.digest
    assert {reused for _, reused in kinds(there)[:-1]} == {True}, "the second app borrows the first one's layers"

    elsewhere = folder / "emptied"
    for tag in bench.registry.tags("cache/python"):
        digest = bench.registry.head_manifest("cache/python", tag)
        if digest:
            bench.registry.delete_manifest("cache/python", digest)
    again, console = bench.build(FLASK, builder=bench.builder_in(elsewhere), repository="apps/three")
    assert "Dependencies unchanged" not in console.text
    assert again.digest == here.digest
    shutil.rmtree(elsewhere, ignore_errors=True)


def test_a_dependency_that_does_not_exist_is_named(bench: Bench) -> None:
    tree = FLASK.with_files({"requirements.txt": "markupsafe==999.0.0\n"})
    with pytest.raises(BuildFailed) as failed:
        bench.build(tree)
    assert failed.value.id == "dependencies_failed"
    assert "markupsafe" in failed.value.message
    assert "999" in failed.value.message
    assert "requirements.txt" in failed.value.hint


WHEEL = "sha256:c6242fc49e35958c8b15141343aa660db5fc54d4f13a1db01a3f5891b98700ef"
PROJECT = """\
[project]
name = "sample"
version = "1"
requires-python = ">=3.11"
dependencies = ["itsdangerous==2.2.0"]
"""
LOCKS = {
    "pyproject.toml": {"pyproject.toml": PROJECT},
    "uv.lock": {"pyproject.toml": PROJECT},  # locked by the test: a lock file of uv's names its index
    "poetry.lock": {
        "pyproject.toml": PROJECT,
        "poetry.lock": f"""\
[[package]]
name = "itsdangerous"
version = "2.2.0"
description = ""
optional = false
python-versions = ">=3.8"
groups = ["main"]
files = [{{file = "itsdangerous-2.2.0-py3-none-any.whl", hash = "{WHEEL}"}}]

[metadata]
lock-version = "2.1"
python-versions = ">=3.11"
content-hash = "091cfde15118feceb4597340ac24dac199ed56dbf33584cf4735bf224a61094b"
""",
    },
    "Pipfile.lock": {
        "Pipfile.lock": json.dumps(
            {
                "_meta": {"sources": []},
                "default": {
                    "itsdangerous": {"version": "==2.2.0", "hashes": [WHEEL], "markers": "python_version >= '3.8'"}
                },
            }
        )
    },
}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_kind_of_lock_file_is_understood(
    bench: Bench, run_in: Callable[[BuildResult, str], str], tmp_path: Path, lock: str
) -> None:
    files: dict[str, str] = {**LOCKS[lock], "Procfile": "web: python -m http.server\n"}
    if lock == "uv.lock":
        (tmp_path / "pyproject.toml").write_text(PROJECT)
        trusting = {**os.environ, "SSL_CERT_FILE": str(CA_BUNDLE)}
        subprocess.run([uv.find_uv_bin(), "lock", "--quiet"], cwd=tmp_path, env=trusting, check=True)
        files["uv.lock"] = (tmp_path / "uv.lock").read_text()
    result, console = bench.build(DirectoryTree(files))
    assert f"-----> Installing dependencies from {lock}" in console.lines
    assert "it is itsdangerous" in run_in(
        result, "python -c 'import itsdangerous; print(\"it is\", itsdangerous.__name__)'"
    )


def test_a_package_without_a_wheel_is_compiled_by_the_run_stack_when_it_is_pure(
    bench: Bench, run_in: Callable[[BuildResult, str], str]
) -> None:
    tree = DirectoryTree(
        {
            "requirements.txt": "./library\n",
            "library/pyproject.toml": "[project]\nname = 'library'\nversion = '1'\n"
            "[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n",
            "library/library/__init__.py": "NAME = 'a local library'\n",
            "Procfile": "web: python -V\n",
        }
    )
    result, _ = bench.build(tree)
    assert "a local library" in run_in(result, "python -c 'import library; print(library.NAME)'")


DJANGO = DirectoryTree.of(Path(__file__).parents[2] / "sample_apps" / "django")


def test_django_collects_static_files_with_the_config_of_the_app(
    bench: Bench, run_in: Callable[[BuildResult, str], str]
) -> None:
    secret = "a-canary-that-sings-0815"
    tree = never_seen(DJANGO).with_files(
        {"shop/settings.py": DJANGO.files["shop/settings.py"] + b"\nprint('key', SECRET_KEY, os.environ['SECRET_KEY'])\n"}
    )
    repository = "apps/django"
    first, console = bench.build(tree, repository=repository, environment={"SECRET_KEY": secret})
    assert kinds(first)[-3:] == [("dependencies", False), ("source", False), ("generated", False)]
    assert "-----> Collecting Django's static files" in console.lines
    assert "collectstatic" in console.text
    assert secret not in console.text
    assert "[SECRET_KEY]" in console.text
    assert "style." in run_in(first, "ls -R staticfiles; find staticfiles ! -user app")
    nowhere(bench, first, secret)

    again, console = bench.build(tree, repository=repository, environment={"SECRET_KEY": secret})
    assert again.digest == first.digest
    assert "its result is reused" in console.text

    other, _ = bench.build(tree, repository=repository, environment={"SECRET_KEY": secret + "x"})
    assert other.digest == first.digest

    skipped, console = bench.build(tree, environment={"DISABLE_COLLECTSTATIC": "1"})
    assert kinds(skipped)[-1][0] == "source"
    assert "DISABLE_COLLECTSTATIC is set" in console.text


def nowhere(bench: Bench, result: BuildResult, secret: str) -> None:
    import gzip

    image = bench.registry.get_image(result.repository, result.digest)
    assert secret.encode() not in image.config + image.manifest
    for layer in image.layers[2:]:
        content = b"".join(bench.registry.get_blob(result.repository, layer.digest))
        assert secret.encode() not in gzip.decompress(content)
    for cache in ("python", "generated", "node"):
        for tag in bench.registry.tags(f"cache/{cache}"):
            assert secret not in json.dumps(bench.registry.get_image(f"cache/{cache}", tag).document)


def test_a_broken_collectstatic_fails_with_a_way_out(bench: Bench) -> None:
    tree = DJANGO.with_files({"shop/settings.py": DJANGO.files["shop/settings.py"] + b"\nimport nothing_of_this_name\n"})
    with pytest.raises(BuildFailed) as failed:
        bench.build(tree)
    assert failed.value.id == "collectstatic_failed"
    assert "nothing_of_this_name" in failed.value.message
    assert "DISABLE_COLLECTSTATIC" in failed.value.hint


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"requirements.txt": "gunicorn==27.0.1\n"}, "Django is not installed"),
        ({"shop/settings.py": b"INSTALLED_APPS = []\nSECRET_KEY = 'x'\n"}, "django.contrib.staticfiles is not installed"),
        (
            {
                "shop/settings.py": b"SECRET_KEY = 'x'\nSTATIC_URL = '/s/'\n"
                b"INSTALLED_APPS = ['django.contrib.staticfiles', 'shop']\n"
            },
            "STATIC_ROOT is not set",
        ),
    ],
)
def test_static_files_that_nobody_wants_collected_are_no_mistake(
    bench: Bench, change: dict[str, str | bytes], words: str
) -> None:
    result, console = bench.build(DJANGO.with_files(change))
    assert words in console.text
    assert kinds(result)[-1][0] == "source", "nothing was generated"


SLEEPER = DirectoryTree(
    {
        "package.json": json.dumps({"scripts": {"build": "echo asleep now; sleep 300", "start": "node x.js"}}),
        "x.js": "",
    }
)


def test_a_cancel_kills_the_container_although_it_is_silent(bench: Bench, engine: DockerEngine) -> None:
    console = Recorder(stop_when="asleep now", stop=BuildCancelled("The build was cancelled."))
    with pytest.raises(BuildCancelled):
        bench.build(SLEEPER, console)
    assert time.monotonic() - console.stopped_at < 5
    assert not engine.list({"paas.test": RUN, "paas.kind": "build"})


def test_a_build_ends_at_its_deadline(bench: Bench) -> None:
    bench.builder.warm(["node"], Recorder())
    started = time.monotonic()
    with pytest.raises(BuildFailed) as failed:
        bench.build(SLEEPER, limits=BuildLimits(deadline_seconds=4))
    assert failed.value.id == "build_timeout"
    assert time.monotonic() - started < 15


def test_a_step_that_takes_too_much_memory_is_named_as_such(bench: Bench) -> None:
    tree = DirectoryTree(
        {
            "package.json": json.dumps({"scripts": {"build": "node eat.js", "start": "node eat.js"}}),
            "eat.js": "const all = []; for (;;) all.push(Buffer.alloc(16 * 1024 * 1024, 1));",
        }
    )
    with pytest.raises(BuildFailed) as failed:
        bench.build(tree, limits=BuildLimits(memory_bytes=256 * 1024 * 1024))
    assert failed.value.id == "build_out_of_memory"
    assert "256 MB" in failed.value.message


def test_a_builder_that_died_leaves_what_a_sweep_can_find(bench: Bench) -> None:
    assert bench.builder.sweep_labels == {"paas.kind": "build"}


def test_unused_cache_entries_are_dropped(bench: Bench) -> None:
    bench.build(FLASK)
    assert bench.builder.prune(3600) == 0
    assert bench.builder.prune(-1) > 0
    _, console = bench.build(FLASK)
    assert "Dependencies unchanged" not in console.text


@pytest.mark.skipif("PAAS_TEST_COMPILERS" not in os.environ, reason="making the compiler stack takes a minute")
def test_what_has_no_wheel_is_compiled_in_the_build_stack_and_runs_in_the_run_stack(
    bench: Bench, run_in: Callable[[BuildResult, str], str]
) -> None:
    tree = DirectoryTree({"requirements.txt": "--no-binary ujson\nujson==5.10.0\n", "Procfile": "web: python -V\n"})
    result, console = bench.build(tree)
    assert "trying again with compilers" in console.text
    assert "compiled [1]" in run_in(result, 'python -c \'import ujson; print("compiled", ujson.loads("[1]"))\'')
