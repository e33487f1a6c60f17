"""Python: packages by uv, whatever the lock file; the stack's own interpreter; Django's collectstatic."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from runtime.builder.api import SourceTree
from runtime.buildpacks.api import STACK_VERSIONS, Dependencies, Generation, Match, Plan, Settings
from runtime.errors import BuildFailed

VERSION = "1"
POETRY = "poetry==2.2.1"
POETRY_EXPORT = "poetry-plugin-export==1.9.0"

_VENV = "/app/.venv"
_INCLUDE = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)(?:\s+|=)?(\S+)", re.MULTILINE)
_LOCAL = re.compile(
    r"^\s*(?:(?:-e|--editable)(?:\s+|=)(?!git\+|hg\+|svn\+|https?:)|\.{1,2}/|\.$|[A-Za-z0-9_.-]+(?:\[[^\]]*\])?\s*@\s*(?:file:|\.))",
    re.MULTILINE,
)
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_DOTTED = re.compile(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?")

# uv writes its virtual environment on the layer's file system, the cache is on another one.
_ENVIRONMENT = {
    "UV_CACHE_DIR": "/cache/uv",
    "UV_LINK_MODE": "copy",
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_NO_PROGRESS": "1",
    "UV_COMPILE_BYTECODE": "1",
    "UV_PROJECT_ENVIRONMENT": _VENV,
    "VIRTUAL_ENV": _VENV,
    # A .pyc that remembers its source's date would be stale as soon as dates are made equal.
    "PYC_INVALIDATION_MODE": "UNCHECKED_HASH",
    "PIP_CACHE_DIR": "/cache/pip",
}
_MAKE_VENV = f"uv venv --quiet --no-config --python /usr/bin/python3 {_VENV}\n"

_COLLECTSTATIC = """\
cd {folder}
echo '$ python manage.py collectstatic --noinput'
python manage.py collectstatic --noinput --traceback > /tmp/collect 2>&1 || status=$?
if [ "${{status:-0}}" = 0 ]; then
  cat /tmp/collect
elif grep -q "No module named 'django'$\\|Couldn't import Django" /tmp/collect; then
  echo "There is a manage.py, but Django is not installed: no static files to collect"
elif grep -q "^Unknown command: 'collectstatic'" /tmp/collect; then
  echo "django.contrib.staticfiles is not installed: no static files to collect"
elif grep -q 'STATIC_ROOT setting to a filesystem path' /tmp/collect; then
  echo "STATIC_ROOT is not set: no static files to collect"
else
  cat /tmp/collect
  exit "$status"
fi
"""


class Python:
    name = "python"
    title = "Python"
    looks_for: tuple[str, ...] = ("requirements.txt", "pyproject.toml", "uv.lock", "poetry.lock", "Pipfile.lock")

    def detect(self, source: SourceTree) -> Match | None:
        files = {entry.path for entry in source.entries() if "/" not in entry.path}
        for name in ("requirements.txt", "uv.lock", "poetry.lock", "Pipfile.lock"):
            if name in files:
                return Match(self.name, name)
        if "pyproject.toml" in files and "project" in _toml(source, "pyproject.toml"):
            return Match(self.name, "pyproject.toml")
        return None

    def plan(self, source: SourceTree, settings: Settings) -> Plan:
        version = STACK_VERSIONS.get(settings.stack, {}).get("python", "3.13")
        notes = _version_notes(source, version)
        dependencies, generations, more = _dependencies(source)
        notes += more
        django = _manage_py(source)
        if django is not None:
            if settings.environment.get("DISABLE_COLLECTSTATIC", "0") not in {"", "0"}:
                notes.append("DISABLE_COLLECTSTATIC is set: static files are not collected.")
            else:
                generations.append(
                    Generation(
                        title="Collecting Django's static files",
                        script=_COLLECTSTATIC.format(folder=f"/app/{django}" if django else "/app"),
                        environment={"PYTHONDONTWRITEBYTECODE": "1"},
                        failure_id="collectstatic_failed",
                        failed="Collecting Django's static files failed",
                        hint="Check `python manage.py collectstatic`, or set the config var DISABLE_COLLECTSTATIC=1.",
                    )
                )
        return Plan(
            language="python",
            version=VERSION,
            using=f"Using Python {version}",
            dependencies=dependencies,
            generations=tuple(generations),
            environment={
                "PATH": f"{_VENV}/bin",
                "VIRTUAL_ENV": _VENV,
                "PYTHONPATH": "/app",
                "PYTHONUNBUFFERED": "1",
            },
            process_types=_default_processes(source, dependencies, django),
            notes=tuple(notes),
        )


# -------------------------------------------------------------------- the interpreter


def _version_notes(source: SourceTree, version: str) -> list[str]:
    """Exact versions can't be had, as the stack brings its interpreter: a nearby one is fine with a warning."""
    for name in (".python-version", "runtime.txt"):
        text = (source.read(name) or b"").decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
        if not lines:
            continue
        wanted = lines[0].removeprefix("cpython-").removeprefix("python-")
        match = _DOTTED.match(wanted)
        if match is None:
            raise BuildFailed(
                f'{name} asks for "{wanted[:40]}", which is no version of Python.',
                hint=f'Write "{version}" into it, or remove it.',
                id="python_version_invalid",
            )
        major, minor = int(match[1]), int(match[2] or 0)
        ours = tuple(int(part) for part in version.split("."))
        if major != ours[0] or (match[2] and minor > ours[1]):
            raise BuildFailed(
                f"{name} asks for Python {wanted}, and this stack has {version}.",
                hint=f'Write "{version}" into {name}, or remove it.',
                id="python_version_unsupported",
            )
        if match[2] and minor != ours[1]:
            return [f"{name} asks for Python {wanted}; the stack has {version}, which is used instead."]
        return []
    return []


# -------------------------------------------------------------------- the packages


def _dependencies(source: SourceTree) -> tuple[Dependencies | None, list[Generation], list[str]]:
    files = {entry.path for entry in source.entries() if "/" not in entry.path}
    candidates = [name for name in ("requirements.txt", "uv.lock", "poetry.lock", "Pipfile.lock") if name in files]
    notes = []
    if len(candidates) > 1:
        notes.append(f"{candidates[0]} is used; {' and '.join(candidates[1:])} beside it is ignored.")
    match candidates[0] if candidates else "pyproject.toml":
        case "requirements.txt":
            return _from_requirements(source), [], notes
        case "uv.lock":
            return *_from_uv_lock(source), notes
        case "poetry.lock":
            return _from_poetry_lock(source), [], notes
        case "Pipfile.lock":
            return _from_pipfile_lock(source), [], notes
    notes.append("There is no lock file, so versions are those of today's; `uv lock` would pin them.")
    script = _MAKE_VENV + "uv pip install -r /in/pyproject.toml\n"
    return _step("pyproject.toml", script, {"pyproject.toml": source.read("pyproject.toml") or b""}), [], notes


def _step(name: str, script: str, files: Mapping[str, bytes], *, whole_source: bool = False) -> Dependencies:
    return Dependencies(
        title=f"Installing dependencies from {name}",
        script=script,
        files=dict(files),
        whole_source=whole_source,
        environment=_ENVIRONMENT,
        config_names=frozenset(
            found for content in files.values() for found in _VARIABLE.findall(content.decode("utf-8", "replace"))
        ),
        hint=f"Correct {name}, check that it installs on your machine, and push again.",
    )


def _from_requirements(source: SourceTree) -> Dependencies:
    files: dict[str, bytes] = {}
    waiting = ["requirements.txt"]
    local = False
    while waiting:
        path = waiting.pop()
        if path in files:
            continue
        content = source.read(path)
        if content is None:
            raise BuildFailed(
                f"A requirements file refers to {path}, which is not part of the push.",
                hint=f"Add {path} to git, or remove the line that refers to it.",
                id="dependencies_failed",
            )
        files[path] = content
        text = content.decode("utf-8-sig", "replace")
        local = local or _LOCAL.search(text) is not None
        folder = path.rpartition("/")[0]
        waiting += [
            _joined(folder, name.strip("\"'"))
            for name in _INCLUDE.findall(text)
            if "://" not in name and not name.startswith("/")
        ]
    base = "/app" if local else "/in"
    script = f"cd {base}\n{_MAKE_VENV}uv pip install -r requirements.txt\n"
    return _step("requirements.txt", script, files, whole_source=local)


def _joined(folder: str, name: str) -> str:
    parts: list[str] = folder.split("/") if folder else []
    for part in name.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)


def _from_uv_lock(source: SourceTree) -> tuple[Dependencies, list[Generation]]:
    lock, project = source.read("uv.lock") or b"", source.read("pyproject.toml")
    if project is None:
        raise BuildFailed(
            "There is a uv.lock, but no pyproject.toml.",
            hint="Add pyproject.toml to git and push again.",
            id="dependencies_failed",
        )
    sources = [package.get("source", {}) for package in _toml(source, "uv.lock").get("package", [])]
    # Beside the project itself: a member of a workspace, or a folder or file of the repository.
    local = any(
        item.get("directory") or item.get("path") or (item.get("editable") or item.get("virtual") or ".") != "."
        for item in sources
    )
    itself = any(item.get("editable") == "." for item in sources)
    sync = "uv sync --frozen --no-default-groups"
    files = {"pyproject.toml": project, "uv.lock": lock}
    if local:
        step = _step("uv.lock", f"cd /app\n{_MAKE_VENV}{sync}\n", files, whole_source=True)
        return step, []
    step = _step("uv.lock", f"cd /in\n{_MAKE_VENV}{sync} --no-install-project\n", files)
    if not itself:
        return step, []
    install = Generation(
        title="Installing the project",
        script=f"cd /app\n{sync}\n",
        environment=_ENVIRONMENT,
        failed="Installing the project itself failed",
        hint="Check that `uv sync --frozen` works on your machine, and push again.",
    )
    return step, [install]


def _from_poetry_lock(source: SourceTree) -> Dependencies:
    files = {name: source.read(name) or b"" for name in ("pyproject.toml", "poetry.lock")}
    script = (
        "mkdir -p /tmp/project && cp /in/* /tmp/project/ && cd /tmp/project\n"
        "env -u VIRTUAL_ENV -u UV_PROJECT_ENVIRONMENT POETRY_VIRTUALENVS_CREATE=false UV_COMPILE_BYTECODE=0"
        " UV_TOOL_DIR=/cache/tools"
        f" uv tool run --quiet --python /usr/bin/python3 --with {POETRY_EXPORT} --from {POETRY}"
        " poetry export --no-interaction --format requirements.txt --output /tmp/requirements.txt\n"
        f"{_MAKE_VENV}uv pip install -r /tmp/requirements.txt\n"
    )
    return _step("poetry.lock", script, files)


def _from_pipfile_lock(source: SourceTree) -> Dependencies:
    content = source.read("Pipfile.lock") or b""
    try:
        requirements = "".join(f"{line}\n" for line in _pipfile_requirements(json.loads(content)))
    except (ValueError, AttributeError, TypeError) as exc:
        raise BuildFailed(
            f"Pipfile.lock cannot be read: {exc}.",
            hint="Make it again with `pipenv lock`, and push.",
            id="dependencies_failed",
        ) from exc
    if _LOCAL.search(requirements):
        files = {"Pipfile.lock": content, ".paas/requirements.txt": requirements.encode()}
        script = f"cd /app\n{_MAKE_VENV}uv pip install -r /in/.paas/requirements.txt\n"
        return _step("Pipfile.lock", script, files, whole_source=True)
    script = f"cd /in\n{_MAKE_VENV}uv pip install -r requirements.txt\n"
    return _step("Pipfile.lock", script, {"requirements.txt": requirements.encode()})


def _pipfile_requirements(lock: Mapping[str, Any]) -> Iterable[str]:
    for index in (lock.get("_meta") or {}).get("sources") or ():
        if index.get("name") != "pypi":
            yield f"--extra-index-url {index['url']}"
    for name, package in sorted((lock.get("default") or {}).items()):
        extras = f"[{','.join(package['extras'])}]" if package.get("extras") else ""
        marker = f" ; {package['markers']}" if package.get("markers") else ""
        if package.get("git"):
            ref = f"@{package['ref']}" if package.get("ref") else ""
            yield f"{name}{extras} @ git+{package['git']}{ref}{marker}"
        elif package.get("path"):
            yield f"{'-e ' if package.get('editable') else ''}{package['path']}{extras}"
        elif package.get("file"):
            yield f"{name}{extras} @ {package['file']}{marker}"
        else:
            hashes = "".join(f" --hash={digest}" for digest in package.get("hashes") or ())
            yield f"{name}{extras}{package.get('version', '').replace('*', '')}{marker}{hashes}"


def _toml(source: SourceTree, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads((source.read(name) or b"").decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise BuildFailed(
            f"{name} cannot be read: {exc}.", hint="Correct it and push again.", id="dependencies_failed"
        ) from exc


# -------------------------------------------------------------------- Django


def _manage_py(source: SourceTree) -> str | None:
    """The folder of the highest manage.py, at most two levels deep; "" is the root."""
    found = [
        entry.path for entry in source.entries() if entry.path.split("/")[-1] == "manage.py" and entry.path.count("/") < 2
    ]
    if not found:
        return None
    return min(found, key=lambda path: (path.count("/"), path)).rpartition("/")[0]


def _default_processes(source: SourceTree, dependencies: Dependencies | None, django: str | None) -> Mapping[str, str]:
    """Without a Procfile only one thing is certain enough: a Django site with gunicorn."""
    locks = b"".join(dependencies.files.values()) if dependencies else b""
    if django is None or not re.search(rb"(?im)^[\s\"']*(?:name\s*=\s*\")?gunicorn\b", locks):
        return {}
    prefix = f"{django}/" if django else ""
    modules = sorted(
        entry.path[len(prefix) : -len(".py")].replace("/", ".")
        for entry in source.entries()
        if entry.path.startswith(prefix)
        and entry.path.endswith("/wsgi.py")
        and entry.path.count("/") <= prefix.count("/") + 1
    )
    if len(modules) != 1:
        return {}
    chdir = f" --chdir {django}" if django else ""
    return {"web": f"gunicorn{chdir} {modules[0]}"}
