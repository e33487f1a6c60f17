"""What the buildpacks make of a source: which of them, which steps, which processes."""

from __future__ import annotations

import json

import pytest

from runtime.buildpacks.api import Plan, Settings
from runtime.buildpacks.detect import choose
from runtime.buildpacks.node import needs_npm
from runtime.errors import BuildFailed
from tests.unit.runtime.builder.trees import DirectoryTree


def packs(files: dict[str, str], named: tuple[str, ...] = ()) -> list[str]:
    return [pack.name for pack, _ in choose(DirectoryTree(files), named)]


def plan(files: dict[str, str], **environment: str) -> Plan:
    tree = DirectoryTree(files)
    return choose(tree)[-1][0].plan(tree, Settings(environment=environment))


def package(**content: object) -> str:
    return json.dumps(content)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"requirements.txt": ""}, ["python"]),
        ({"pyproject.toml": "[project]\nname='a'"}, ["python"]),
        ({"pyproject.toml": "[tool.ruff]", "index.html": ""}, ["static"]),
        ({"poetry.lock": ""}, ["python"]),
        ({"Pipfile.lock": "{}"}, ["python"]),
        ({"package.json": package(scripts={"start": "node x"})}, ["node"]),
        ({"package.json": "{}", "server.js": ""}, ["node"]),
        ({"package.json": package(scripts={"build": "vite build"})}, ["node", "static"]),
        ({"package.json": package(scripts={"build": "vite build"}), "Procfile": "web: node x"}, ["node"]),
        ({"package.json": "{}", "index.html": ""}, ["static"]),
        ({"requirements.txt": "", "package.json": package(scripts={"build": "x"})}, ["node", "python"]),
        ({"requirements.txt": "", "package.json": package(devDependencies={"eslint": "9"})}, ["python"]),
        ({"public/index.html": ""}, ["static"]),
    ],
)
def test_the_files_in_the_root_tell_the_buildpacks(files: dict[str, str], expected: list[str]) -> None:
    assert packs(files) == expected


def test_app_json_can_name_them() -> None:
    assert packs({"requirements.txt": "", "package.json": "{}"}, ("node",)) == ["node"]


def test_an_app_that_nobody_recognises_is_told_what_was_looked_for() -> None:
    tree = DirectoryTree({"notes.txt": "hello"})
    with pytest.raises(BuildFailed) as failed:
        choose(tree)
    assert failed.value.id == "no_buildpack"
    assert failed.value.message.startswith("No buildpack recognised this app.")
    for name in ("requirements.txt", "pyproject.toml", "package.json", "index.html", "Dockerfile"):
        assert name in failed.value.message
    assert tree.commit[:7] in failed.value.message
    assert "Add one of them" in failed.value.hint


# -------------------------------------------------------------------- Python


def test_included_requirements_are_part_of_what_is_installed() -> None:
    made = plan(
        {
            "requirements.txt": "-r requirements/web.txt\n-c limits.txt\nflask\n",
            "requirements/web.txt": "-r ../more.txt\ngunicorn\n",
            "more.txt": "redis\n",
            "limits.txt": "flask<4\n",
            "other.txt": "x\n",
        }
    )
    assert made.dependencies is not None
    assert sorted(made.dependencies.files) == ["limits.txt", "more.txt", "requirements.txt", "requirements/web.txt"]
    assert not made.dependencies.whole_source


def test_a_missing_included_file_is_named() -> None:
    with pytest.raises(BuildFailed, match=r"base\.txt, which is not part of the push"):
        plan({"requirements.txt": "-r base.txt"})


@pytest.mark.parametrize("line", ["-e .", "./lib", "--editable=lib", "lib @ file:///app/lib", "../x", "lib @ ./lib"])
def test_packages_of_the_repository_itself_need_the_whole_source(line: str) -> None:
    made = plan({"requirements.txt": f"flask\n{line}\n"})
    assert made.dependencies is not None
    assert made.dependencies.whole_source


@pytest.mark.parametrize(
    "line", ["lib @ git+https://example.com/lib", "-e git+https://example.com/lib#egg=lib", "a==1 # ./x"]
)
def test_packages_from_elsewhere_do_not(line: str) -> None:
    made = plan({"requirements.txt": line})
    assert made.dependencies is not None
    assert not made.dependencies.whole_source


def test_credentials_named_in_a_requirements_file_are_asked_for() -> None:
    made = plan({"requirements.txt": "--extra-index-url https://${TOKEN}@packages.example.com/\nflask\n"})
    assert made.dependencies is not None
    assert made.dependencies.config_names == {"TOKEN"}


def test_a_pipfile_lock_becomes_requirements_with_hashes() -> None:
    lock = {
        "_meta": {"sources": [{"name": "own", "url": "https://packages.example.com/simple"}]},
        "default": {
            "b": {"version": "==2", "hashes": ["sha256:aa", "sha256:bb"], "markers": "python_version > '3'"},
            "a": {"version": "==1", "extras": ["x", "y"]},
            "g": {"git": "https://example.com/g", "ref": "abc"},
        },
    }
    made = plan({"Pipfile.lock": json.dumps(lock)})
    assert made.dependencies is not None
    assert made.dependencies.files["requirements.txt"].decode().splitlines() == [
        "--extra-index-url https://packages.example.com/simple",
        "a[x,y]==1",
        "b==2 ; python_version > '3' --hash=sha256:aa --hash=sha256:bb",
        "g @ git+https://example.com/g@abc",
    ]


def test_one_lock_file_is_used_and_the_others_are_named() -> None:
    made = plan({"requirements.txt": "", "poetry.lock": ""})
    assert made.dependencies is not None
    assert "requirements.txt" in made.dependencies.title
    assert "requirements.txt is used; poetry.lock beside it is ignored." in made.notes


@pytest.mark.parametrize(
    ("wanted", "note"),
    [("3.13", ""), ("3.13.1\n", ""), ("# a\npython-3.13.7", ""), ("3.11", "asks for Python 3.11"), ("3", "")],
)
def test_the_wanted_python_is_compared_with_the_stacks(wanted: str, note: str) -> None:
    notes = " ".join(plan({"requirements.txt": "", ".python-version": wanted}).notes)
    assert (note in notes) if note else not notes


@pytest.mark.parametrize(
    ("wanted", "failure"),
    [("2.7", "python_version_unsupported"), ("3.15", "python_version_unsupported"), ("pypy", "python_version_invalid")],
)
def test_a_python_that_cannot_be_had_fails(wanted: str, failure: str) -> None:
    with pytest.raises(BuildFailed) as failed:
        plan({"requirements.txt": "", "runtime.txt": wanted})
    assert failed.value.id == failure
    assert "3.13" in failed.value.hint


def test_django_collects_static_files_unless_told_not_to() -> None:
    files = {"requirements.txt": "django\ngunicorn\n", "manage.py": "", "shop/wsgi.py": ""}
    made = plan(files)
    assert [step.title for step in made.generations] == ["Collecting Django's static files"]
    assert made.process_types == {"web": "gunicorn shop.wsgi"}
    assert plan(files, DISABLE_COLLECTSTATIC="1").generations == ()
    assert plan(files, DISABLE_COLLECTSTATIC="0").generations


def test_a_django_site_may_lie_in_a_folder() -> None:
    made = plan({"requirements.txt": "gunicorn==27", "site/manage.py": "", "site/shop/wsgi.py": "", "a/b/manage.py": ""})
    assert "cd /app/site" in made.generations[0].script
    assert made.process_types == {"web": "gunicorn --chdir site shop.wsgi"}


# -------------------------------------------------------------------- Node


@pytest.mark.parametrize(
    ("lock", "command"),
    [
        ("package-lock.json", "npm ci --omit=dev"),
        ("", "npm install --no-package-lock --omit=dev"),
        ("yarn.lock", "yarn install --non-interactive --no-progress --frozen-lockfile --production=true"),
        ("pnpm-lock.yaml", "--frozen-lockfile --prod"),
    ],
)
def test_the_lock_file_tells_the_package_manager(lock: str, command: str) -> None:
    files = {"package.json": package(dependencies={"express": "5"}, scripts={"start": "node x.js"})}
    made = plan({**files, lock: ""} if lock else files)
    assert made.dependencies is not None
    assert command in made.dependencies.script
    assert any("no lock file" in note for note in made.notes) == (not lock)


def test_the_package_manager_field_pins_its_version() -> None:
    content = package(dependencies={"a": "1"}, packageManager="pnpm@8.1.0+sha512.abc", scripts={"start": "x"})
    made = plan({"package.json": content, "pnpm-lock.yaml": "lockfileVersion: '6.0'"})
    assert made.dependencies is not None
    assert "pnpm@8.1.0'" in made.dependencies.script
    content = package(dependencies={"a": "1"}, packageManager="yarn@4.5.0", scripts={"start": "x"})
    made = plan({"package.json": content, "yarn.lock": ""})
    assert made.dependencies is not None
    assert "@yarnpkg/cli-dist@4.5.0" in made.dependencies.script
    assert "workspaces focus --all --production" in made.dependencies.script


def test_lock_files_of_two_managers_are_a_mistake() -> None:
    with pytest.raises(BuildFailed, match="several package managers") as failed:
        plan({"package.json": package(scripts={"start": "x"}), "yarn.lock": "", "package-lock.json": ""})
    assert failed.value.id == "lock_files_conflict"


def test_what_is_needed_to_build_stays_out_of_the_image() -> None:
    scripts = {"build": "tsc", "start": "node dist/x.js"}
    made = plan(
        {"package.json": package(dependencies={"a": "1"}, devDependencies={"b": "1"}, scripts=scripts), "yarn.lock": ""}
    )
    assert made.dependencies is not None
    assert made.build_dependencies is not None
    assert "--production=true" in made.dependencies.script
    assert "--production=false" in made.build_dependencies.script
    assert "yarn run build" in made.generations[0].script


def test_scripts_that_run_at_installation_get_the_whole_source() -> None:
    for change in (
        {"scripts": {"postinstall": "node x.js", "start": "x"}},
        {"workspaces": ["a"]},
        {"dependencies": {"a": "file:./a"}},
    ):
        made = plan({"package.json": package(**{"dependencies": {"b": "1"}, "scripts": {"start": "x"}, **change})})
        assert made.dependencies is not None
        assert made.dependencies.whole_source, change


def test_the_start_script_is_run_without_npm_between() -> None:
    assert plan({"package.json": package(scripts={"start": "node x.js"})}).process_types == {"web": "node x.js"}
    assert plan({"package.json": "{}", "server.js": ""}).process_types == {"web": "node server.js"}
    hooked = plan({"package.json": package(scripts={"start": "node x.js", "prestart": "echo"})})
    assert hooked.process_types == {"web": "npm start"}


@pytest.mark.parametrize(
    ("command", "needed"), [("npm start", True), ("node npm.js", False), ("a && npx b", True), ("npm", True)]
)
def test_npm_is_part_of_the_image_when_a_process_calls_it(command: str, needed: bool) -> None:
    assert needs_npm({"web": command}) is needed


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (">=18", True),
        (">= 18 < 22", True),
        ("20.x", True),
        ("^20.1.0", True),
        ("22", False),
        (">=22", False),
        ("18 || 20", True),
        ("<20", False),
        ("<20.5", True),
        ("18 - 22", True),
        ("*", True),
        ("lts/*", True),
        (">20", False),
    ],
)
def test_the_wanted_node_is_compared_with_the_stacks(wanted: str, fits: bool) -> None:
    notes = plan({"package.json": package(engines={"node": wanted}, scripts={"start": "x"}), "yarn.lock": ""}).notes
    assert bool(notes) is not fits


def test_a_package_json_that_is_none_is_named() -> None:
    for content in ("{", "[]"):
        with pytest.raises(BuildFailed) as failed:
            plan({"package.json": content})
        assert failed.value.id == "package_json_invalid"


# -------------------------------------------------------------------- static sites


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({"index.html": ""}, "/paas/serve-static /app"),
        ({"public/index.html": "", "index.html": ""}, "/paas/serve-static /app/public"),
        ({"dist/index.html": ""}, "/paas/serve-static /app/dist"),
    ],
)
def test_the_folder_with_the_index_is_served(files: dict[str, str], command: str) -> None:
    assert plan(files).process_types == {"web": command}


def test_a_site_that_is_built_is_served_from_where_its_tool_puts_it() -> None:
    made = plan({"package.json": package(scripts={"build": "vite build"}), "index.html": ""})
    assert made.process_types["web"].startswith("for f in /app/dist ")
