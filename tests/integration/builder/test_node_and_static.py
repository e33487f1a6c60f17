"""Node apps with each package manager, static sites, and several buildpacks in a row."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.builder.api import BuildResult
from runtime.errors import BuildFailed
from tests.integration.builder.conftest import Bench
from tests.integration.builder.test_python import kinds
from tests.unit.runtime.builder.trees import DirectoryTree

pytestmark = pytest.mark.engine

SAMPLES = Path(__file__).parents[2] / "sample_apps"
Run = Callable[[BuildResult, str], str]
# What npm, yarn and pnpm write for one package that depends on nothing.
PACKAGE = {"name": "sample", "version": "1.0.0", "dependencies": {"ms": "2.1.3"}}
MS = "sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA=="


def test_express_is_installed_from_its_lock_file(bench: Bench, run_in: Run) -> None:
    tree = DirectoryTree.of(SAMPLES / "express")
    package = json.loads(tree.files["package.json"]) | {"description": os.urandom(8).hex()}  # never installed so far
    tree = tree.with_files({"package.json": json.dumps(package)})
    first, console = bench.build(tree, repository="apps/express")
    assert "-----> Node.js app detected" in console.lines
    assert "       Default types for this app: web" in console.lines
    assert kinds(first)[-2:] == [("dependencies", False), ("source", False)]
    found = run_in(first, "node -e \"console.log('express', typeof require('express'))\"; ls -A /app; which npm || true")
    assert "express function" in found
    assert "npm" not in found.split("\n")[-1], "nothing here calls npm"

    edited = tree.with_files({"server.js": tree.files["server.js"] + b"// changed\n"})
    second, console = bench.build(edited, repository="apps/express")
    assert [kind for kind, reused in kinds(second) if not reused] == ["source"], console.text


def test_the_same_node_app_has_the_same_digest_with_an_emptied_cache(bench: Bench, folder: Path) -> None:
    tree = DirectoryTree.of(SAMPLES / "express")
    first, _ = bench.build(tree)
    for tag in bench.registry.tags("cache/node"):
        digest = bench.registry.head_manifest("cache/node", tag)
        if digest:
            bench.registry.delete_manifest("cache/node", digest)
    again, console = bench.build(tree, builder=bench.builder_in(folder / "emptied-node"))
    assert "Dependencies unchanged" not in console.text
    assert again.digest == first.digest


@pytest.mark.parametrize("manager", ["yarn", "pnpm"])
def test_yarn_and_pnpm_follow_their_lock_files(bench: Bench, run_in: Run, manager: str) -> None:
    locks = {
        "yarn": {"yarn.lock": f'# yarn lockfile v1\n\n\nms@2.1.3:\n  version "2.1.3"\n  integrity {MS}\n'},
        "pnpm": {
            "pnpm-lock.yaml": "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n"
            "  excludeLinksFromLockfile: false\n\nimporters:\n\n  .:\n    dependencies:\n      ms:\n"
            "        specifier: 2.1.3\n        version: 2.1.3\n\npackages:\n\n  ms@2.1.3:\n"
            f"    resolution: {{integrity: {MS}}}\n\nsnapshots:\n\n  ms@2.1.3: {{}}\n"
        },
    }
    start = {"scripts": {"start": 'node -p \'require("ms")("2 days")\''}}
    tree = DirectoryTree({"package.json": json.dumps({**PACKAGE, **start}), **locks[manager]})
    result, console = bench.build(tree)
    assert f"       Using Node.js 20 and {manager}" in console.lines
    assert "172800000" in run_in(result, 'node -p \'require("ms")("2 days")\''), console.text


def test_a_build_script_runs_with_the_config_and_npm_ships_when_a_process_calls_it(bench: Bench, run_in: Run) -> None:
    tree = DirectoryTree(
        {
            "package.json": json.dumps(
                {
                    "scripts": {
                        "build": 'mkdir -p made && printf "$GREETING" | tr a-z A-Z > made/greeting.txt && npm --version',
                        "start": "node x.js",
                    }
                }
            ),
            "x.js": "",
            "Procfile": "web: npm start\n",
        }
    )
    result, console = bench.build(tree, environment={"GREETING": "good morning"})
    assert "-----> Running the build script" in console.lines
    assert kinds(result)[-1] == ("generated", False)
    said = run_in(result, "cat made/greeting.txt; npm --version")
    assert "GOOD MORNING" in said
    assert "10." in said


def test_a_failing_build_script_is_told_with_what_it_said(bench: Bench) -> None:
    scripts = {"build": "echo the compiler is unhappy; exit 3", "start": "node x.js"}
    with pytest.raises(BuildFailed) as failed:
        bench.build(DirectoryTree({"package.json": json.dumps({"scripts": scripts})}))
    assert failed.value.id == "build_script_failed"
    assert "the compiler is unhappy" in failed.value.message
    assert "exit code 3" in failed.value.message


def test_node_prepares_files_for_python(bench: Bench, run_in: Run) -> None:
    tree = DirectoryTree(
        {
            "requirements.txt": "",
            "Procfile": "web: python -m http.server $PORT\n",
            "package.json": json.dumps({"scripts": {"build": "mkdir -p static && node -p 20+22 > static/made.txt"}}),
        }
    )
    result, console = bench.build(tree)
    assert result.buildpacks == ("node", "python")
    assert "-----> Python app detected" in console.lines
    assert "42" in run_in(result, "cat static/made.txt; python -V")


def test_a_static_site_is_its_source(bench: Bench, run_in: Run) -> None:
    result, console = bench.build(DirectoryTree.of(SAMPLES / "static"))
    assert kinds(result)[-1] == ("source", False)
    assert "dependencies" not in dict(kinds(result))
    assert "-----> Static site app detected" in console.lines
    assert "index.html" in run_in(result, "ls; cat /paas/processes/web")
