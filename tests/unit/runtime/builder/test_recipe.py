"""From source to recipe, to keys, to tars: all that needs no engine."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

import pytest

from runtime.builder import tars
from runtime.builder.api import BuildRequest
from runtime.builder.assemble import wants_compiler
from runtime.builder.detection import Recipe, read_recipe
from runtime.builder.failures import FAILURES
from runtime.builder.keys import cache_key, environment_key
from runtime.builder.steps import Mask, clean
from runtime.errors import BuildFailed
from tests.unit.runtime.builder.trees import DirectoryTree


def request_of(files: Mapping[str, str], **environment: str) -> BuildRequest:
    return BuildRequest(
        app="shop",
        repository="apps/1",
        source=DirectoryTree(files),
        environment=environment,
        tags=["git-1"],
        labels={},
        build_id="b1",
    )


def recipe(files: Mapping[str, str]) -> Recipe:
    return read_recipe(request_of(files))


def test_the_procfile_becomes_a_table_of_files_for_the_launcher() -> None:
    made = recipe({"requirements.txt": "", "Procfile": "web: gunicorn app\nworker: python w.py\nrelease: ./migrate\n"})
    assert made.files == {
        "paas/processes/web": b"gunicorn app\n",
        "paas/processes/worker": b"python w.py\n",
        "paas/processes/release": b"./migrate\n",
    }
    assert dict(made.process_types) == {"web": "gunicorn app", "worker": "python w.py"}
    assert made.release_command == "./migrate"
    assert made.process_lines == ("Procfile declares types: web, worker", "Procfile declares a release command")


def test_defaults_count_only_without_declared_types() -> None:
    files = {"package.json": '{"scripts": {"start": "node x.js"}}'}
    assert recipe(files).process_types == {"web": "node x.js"}
    assert recipe({**files, "Procfile": "worker: node w.js"}).process_types == {"worker": "node w.js"}
    assert recipe({**files, "Procfile": "release: ./migrate"}).process_types == {"web": "node x.js"}


def test_an_app_that_nothing_starts_fails_with_the_way_out() -> None:
    with pytest.raises(BuildFailed) as failed:
        recipe({"requirements.txt": ""})
    assert failed.value.id == "no_process_types"
    assert "Procfile" in failed.value.hint


def test_a_dockerfile_wins_unless_app_json_names_buildpacks() -> None:
    files = {"Dockerfile": "FROM scratch", "requirements.txt": "", "Procfile": "web: x"}
    assert recipe(files).names == ("dockerfile",)
    assert recipe({**files, "app.json": '{"buildpacks": ["python"]}'}).names == ("python",)
    placed = {"app.json": '{"build": {"dockerfile": "docker/D"}}', "docker/D": "FROM scratch"}
    assert recipe(placed).dockerfile == "docker/D"


def test_a_dockerfile_that_is_named_and_missing_fails() -> None:
    with pytest.raises(BuildFailed) as failed:
        recipe({"app.json": '{"build": {"dockerfile": "docker/D"}}', "requirements.txt": ""})
    assert failed.value.id == "dockerfile_missing"


def test_committed_dependencies_do_not_cover_the_installed_ones() -> None:
    made = recipe({"package.json": '{"dependencies": {"a": "1"}, "scripts": {"start": "x"}}', "yarn.lock": ""})
    assert made.keep is not None
    assert made.keep("server.js")
    assert not made.keep("node_modules/a/index.js")


def test_every_failure_id_is_documented() -> None:
    assert {"no_buildpack", "dependencies_failed", "build_timeout", "build_out_of_memory"} <= set(FAILURES)


def test_keys_change_with_every_part() -> None:
    assert cache_key("a", ["b"]) == cache_key("a", ("b",))
    assert len({cache_key("a", "b"), cache_key("ab", ""), cache_key("a", "c"), cache_key("a")}) == 4


def test_the_environment_is_part_of_a_key_without_being_readable_in_it() -> None:
    one = environment_key("apps/1", {"TOKEN": "secret", "B": "2"})
    assert one == environment_key("apps/1", {"B": "2", "TOKEN": "secret"})
    assert one != environment_key("apps/1", {"B": "2", "TOKEN": "other"})
    assert one != environment_key("apps/2", {"B": "2", "TOKEN": "secret"})
    assert environment_key("apps/1", {}) == ""


def test_values_of_config_vars_are_masked_in_lines_of_tools() -> None:
    mask = Mask(
        {"KEY": "0123456789", "URL": "db://0123456789@host", "SHORT": "abc", "CERT": "first line of it\nsecond line"}
    )
    assert mask("key=0123456789 url=db://0123456789@host abc") == "key=[KEY] url=[URL] abc"
    assert mask("second line") == "[CERT]"


def test_lines_are_shown_as_a_terminal_would_leave_them() -> None:
    assert clean("\x1b[1;32mgreen\x1b[0m \x1b]0;title\x07text") == "green text"
    assert clean("10 %\r50 %\r100 %\r\n") == "100 %"
    assert clean("a\x00b\x07c\td") == "abc\td"
    assert len(clean("x" * 10_000)) == 2000


def test_a_source_tar_belongs_to_the_app_and_carries_its_processes() -> None:
    tree = DirectoryTree(
        {"a.py": "print()", "deep/" + "n" * 120 + ".txt": "x" * 1000, "run": "#!", "link": "-> a.py"}, executable=["run"]
    )
    out = io.BytesIO()
    tree.write_tar(out, prefix="app/")
    tars.finish(out, owner=1000, extra={"paas/processes/web": b"python a.py\n"})
    again = io.BytesIO()
    tree.write_tar(again, prefix="app/")
    tars.finish(again, owner=1000, extra={"paas/processes/web": b"python a.py\n"})
    assert out.getvalue() == again.getvalue()
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        found = {entry.name: entry for entry in tar}
        assert {name for name, entry in found.items() if entry.uid == entry.gid == 1000} == {
            "app", "app/a.py", "app/deep", "app/deep/" + "n" * 120 + ".txt", "app/run", "app/link",
        }  # fmt: skip
        assert found["paas/processes/web"].uid == 0
        assert found["app/run"].mode == 0o755
        content = tar.extractfile("app/deep/" + "n" * 120 + ".txt")
        assert content is not None
        assert content.read() == b"x" * 1000


def test_a_tar_without_entries_is_known_as_empty(tmp_path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(bytes(10240))
    assert tars.is_empty(path)
    path.write_bytes(tars.of_files({"a": b"b"}, prefix="in/").getvalue())
    assert not tars.is_empty(path)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("error: command 'gcc' failed: No such file or directory", True),
        ("unable to execute 'x86_64-linux-gnu-gcc': No such file or directory", True),
        ("error: [Errno 2] No such file or directory: 'x86_64-linux-gnu-g++'", True),
        ("sh: 1: gcc: not found", True),
        ("gyp ERR! stack Error: not found: make", True),
        ("gyp ERR! find Python", True),
        ("Error: pg_config executable not found.", True),
        ("  Git executable not found. Ensure that Git is installed and available.", True),
        ("npm error enoent An unknown git error: spawn git ENOENT", True),
        ("fatal error: Python.h: No such file or directory", True),
        ("Because there is no version of markupsafe==999.0.0 and you require it", False),
        ("ModuleNotFoundError: No module named 'makefile'", False),
        ("file not found: makefile.py", False),
        ("npm error 404 Not Found - git-tools@1", False),
    ],
)
def test_compilers_are_called_for_only_when_a_tool_is_missing(line: str, wanted: bool) -> None:
    assert wants_compiler(["something before", line]) is wanted
