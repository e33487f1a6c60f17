"""Node: npm, yarn or pnpm by lock file; the build script; what is only needed for it stays out of the image."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime.builder.api import SourceTree
from runtime.buildpacks.api import STACK_VERSIONS, Dependencies, Generation, Match, Plan, Settings
from runtime.errors import BuildFailed

VERSION = "1"
YARN = "1.22.22"
#: By the major version of pnpm's lock file.
PNPM = {"9": "9.15.9", "6": "8.15.9", "5": "7.33.7"}

_LOCKS = ("package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml")
_SETTINGS = (".npmrc", ".yarnrc", ".yarnrc.yml", "pnpm-workspace.yaml", ".pnpmfile.cjs")
_BUILD_SCRIPTS = ("heroku-postbuild", "build")
# Scripts that run while packages are installed and may need any file of the source.
_INSTALL_SCRIPTS = ("preinstall", "install", "postinstall", "prepare")
_VARIABLE = re.compile(r"\$\{([A-Za-z0-9_]+)[?:}-]")
_NPM = re.compile(r"(?:^|[\s;&|(])(npm|npx|yarn|pnpm)\s")

_ENVIRONMENT = {
    "NPM_CONFIG_CACHE": "/cache/npm",
    "NPM_CONFIG_UPDATE_NOTIFIER": "false",
    "NPM_CONFIG_FUND": "false",
    "NPM_CONFIG_AUDIT": "false",
    "NPM_CONFIG_PROGRESS": "false",
    "NPM_CONFIG_NODEDIR": "/usr",
    "YARN_CACHE_FOLDER": "/cache/yarn",
    "YARN_GLOBAL_FOLDER": "/cache/yarn-berry",
    "YARN_NODE_LINKER": "node-modules",
    "YARN_ENABLE_TELEMETRY": "0",
    "YARN_ENABLE_PROGRESS_BARS": "0",
    "COREPACK_ENABLE_STRICT": "0",
    "CI": "1",
}
# Dates, and folders of the machine that installed: nothing reads them in an image.
_TIDY = "rm -rf node_modules/.modules.yaml node_modules/.pnpm-workspace-state*.json node_modules/.cache\n"


@dataclass(frozen=True, slots=True)
class _Manager:
    title: str
    lock: str  # "" = none
    prepare: str  # makes the command available
    install: str
    install_for_build: str
    run: str


class Node:
    name = "node"
    title = "Node.js"
    looks_for: tuple[str, ...] = ("package.json",)

    def detect(self, source: SourceTree) -> Match | None:
        return Match(self.name, "package.json") if source.read("package.json") is not None else None

    def plan(self, source: SourceTree, settings: Settings) -> Plan:
        package = read_package(source)
        version = STACK_VERSIONS.get(settings.stack, {}).get("node", "20")
        notes = _engine_notes(package, version)
        manager = _manager(source, package)
        if not manager.lock:
            notes.append("There is no lock file, so versions are those of today's; `npm install` makes one to commit.")
        scripts = _scripts(package)
        build = build_script(package)
        generations = (
            (
                Generation(
                    title=f"Running the {build} script",
                    script=f"cd /app\n{manager.prepare}{manager.run} {build}\nrm -rf node_modules/.cache\n",
                    environment={**_ENVIRONMENT, "NODE_ENV": settings.environment.get("NODE_ENV", "production")},
                    failed=f"The {build} script of package.json failed",
                ),
            )
            if build
            else ()
        )
        for_build = _install(source, package, manager, manager.install_for_build)
        for_run = _install(source, package, manager, manager.install)
        processes: dict[str, str] = {}
        if scripts.get("start"):
            # npm would only stand between the platform and the process, except where it runs hooks.
            hooks = "prestart" in scripts or "poststart" in scripts
            processes["web"] = "npm start" if hooks or _NPM.search(scripts["start"] + " ") else scripts["start"]
        elif source.read("server.js") is not None:
            processes["web"] = "node server.js"
        return Plan(
            language="node",
            version=VERSION,
            using=f"Using Node.js {version} and {manager.title}",
            dependencies=for_run if settings.is_run_time else for_build,
            build_dependencies=for_build if build and package.get("devDependencies") else None,
            generations=generations,
            environment={"PATH": "/app/node_modules/.bin", "NODE_ENV": "production"},
            process_types=processes,
            tools=("npm",),
            notes=tuple(notes),
        )


def needs_npm(commands: Mapping[str, str]) -> bool:
    return any(_NPM.search(command + " ") for command in commands.values())


def read_package(source: SourceTree) -> dict[str, Any]:
    try:
        package = json.loads((source.read("package.json") or b"").decode("utf-8-sig"))
    except (ValueError, RecursionError) as exc:
        raise BuildFailed(
            f"package.json cannot be read: {exc}.", hint="Correct it and push again.", id="package_json_invalid"
        ) from exc
    if not isinstance(package, dict):
        raise BuildFailed("package.json holds no object.", hint="Correct it and push again.", id="package_json_invalid")
    return package


def build_script(package: Mapping[str, Any]) -> str:
    scripts = _scripts(package)
    return next((name for name in _BUILD_SCRIPTS if scripts.get(name)), "")


def has_start(source: SourceTree, package: Mapping[str, Any]) -> bool:
    return bool(_scripts(package).get("start")) or source.read("server.js") is not None


def _scripts(package: Mapping[str, Any]) -> dict[str, str]:
    scripts = package.get("scripts")
    if not isinstance(scripts, dict):
        return {}
    return {name: text for name, text in scripts.items() if isinstance(text, str)}


def _engine_notes(package: Mapping[str, Any], version: str) -> list[str]:
    engines = package.get("engines")
    wanted = engines.get("node") if isinstance(engines, dict) else None
    if not isinstance(wanted, str) or _allows(wanted, int(version)):
        return []
    return [f'package.json asks for Node.js "{wanted}"; the stack has {version}, which is used instead.']


def _allows(wanted: str, major: int) -> bool:
    """Whether a range of versions holds some release of this major version. What we can't read counts as yes."""
    for alternative in wanted.split("||"):
        fits = True
        text = re.sub(r"([<>=^~]+)\s+", r"\1", alternative.strip())
        span = re.fullmatch(r"v?(\d+)\S*\s+-\s+v?(\d+)\S*", text)
        if span:
            fits = int(span[1]) <= major <= int(span[2])
        else:
            for part in text.split():
                match = re.fullmatch(r"([<>=^~]*)v?(\d+|[xX*])(?:\.(\d+|[xX*]))?(?:\.(\S+))?", part)
                if match is None or match[2] in {"x", "X", "*"}:
                    continue
                number, rest = int(match[2]), (match[3] or "0", match[4] or "0")
                match match[1]:
                    case ">=":
                        fits = fits and major >= number
                    case ">":
                        fits = fits and (major > number or (major == number and match[3] is not None))
                    case "<=":
                        fits = fits and major <= number
                    case "<":
                        fits = fits and (major < number or (major == number and rest != ("0", "0")))
                    case _:
                        fits = fits and major == number
        if fits:
            return True
    return False


def _manager(source: SourceTree, package: Mapping[str, Any]) -> _Manager:
    files = {entry.path for entry in source.entries() if "/" not in entry.path}
    locks = [name for name in _LOCKS if name in files]
    kinds = {"npm" if name in _LOCKS[:2] else name for name in locks}
    if len(kinds) > 1:
        raise BuildFailed(
            f"There are lock files of several package managers: {', '.join(locks)}.",
            hint="Keep the one you use and remove the others from git.",
            id="lock_files_conflict",
        )
    name, _, pinned = str(package.get("packageManager") or "").partition("+")[0].partition("@")
    lock = locks[0] if locks else ""
    if lock == "yarn.lock" or (not lock and name == "yarn"):
        version = pinned if name == "yarn" and pinned else YARN
        berry = not version.startswith("1.") or ".yarnrc.yml" in files
        if berry:
            wanted = version if not version.startswith("1.") else "4.9.1"
            return _Manager(
                "yarn",
                lock,
                _tool("yarn", f"@yarnpkg/cli-dist@{wanted}"),
                "yarn workspaces focus --all --production",
                "yarn install --immutable" if lock else "yarn install",
                "yarn run",
            )
        flags = "--non-interactive --no-progress" + (" --frozen-lockfile" if lock else "")
        return _Manager(
            "yarn",
            lock,
            _tool("yarn", f"yarn@{version}"),
            f"yarn install {flags} --production=true",
            f"yarn install {flags} --production=false",
            "yarn run",
        )
    if lock == "pnpm-lock.yaml" or (not lock and name == "pnpm"):
        version = pinned if name == "pnpm" and pinned else PNPM.get(_pnpm_lock_version(source), PNPM["9"])
        flags = "--store-dir /cache/pnpm --package-import-method copy --reporter append-only"
        flags += " --frozen-lockfile" if lock else ""
        return _Manager(
            "pnpm",
            lock,
            _tool("pnpm", f"pnpm@{version}"),
            f"pnpm install {flags} --prod",
            f"pnpm install {flags} --prod=false",
            "pnpm run",
        )
    verb = "npm ci" if lock else "npm install --no-package-lock"
    return _Manager("npm", lock, "", f"{verb} --omit=dev", f"{verb} --include=dev", "npm run")


def _tool(command: str, package: str) -> str:
    """npm brings the other package managers, once for all builds."""
    folder = f"/cache/tools/{re.sub(r'[^A-Za-z0-9.-]', '-', package)}"
    return (
        f"if [ ! -x {folder}/node_modules/.bin/{command} ]; then\n"
        f"  (cd / && npm install --global=false --no-save --prefix {folder}.$$ '{package}' >/dev/null)\n"
        f"  mv -T {folder}.$$ {folder} 2>/dev/null || rm -rf {folder}.$$\n"
        "fi\n"
        f"export PATH={folder}/node_modules/.bin:$PATH\n"
    )


def _pnpm_lock_version(source: SourceTree) -> str:
    head = (source.read("pnpm-lock.yaml") or b"")[:200].decode("utf-8", "replace")
    match = re.search(r"lockfileVersion:\s*['\"]?(\d+)", head)
    return match[1] if match else ""


def _install(source: SourceTree, package: Mapping[str, Any], manager: _Manager, command: str) -> Dependencies | None:
    wanted = any(package.get(key) for key in ("dependencies", "devDependencies", "optionalDependencies", "workspaces"))
    scripts = _scripts(package)
    if not wanted and not any(name in scripts for name in _INSTALL_SCRIPTS):
        return None
    names = ["package.json", *([manager.lock] if manager.lock else []), *_SETTINGS]
    files = {name: content for name in names if (content := source.read(name)) is not None}
    entries = [entry.path for entry in source.entries()]
    whole = (
        any(name in scripts for name in _INSTALL_SCRIPTS)
        or bool(package.get("workspaces"))
        or "pnpm-workspace.yaml" in files
        or any(path.startswith((".yarn/", "patches/")) for path in entries)
        or re.search(r'"(?:file|link|portal):', json.dumps(package)) is not None
    )
    script = "cd /app\n" + ("" if whole else "cp -r /in/. /app/\n") + manager.prepare + command + "\n" + _TIDY
    if not whole:
        script += "find /app -mindepth 1 -maxdepth 1 ! -name node_modules -exec rm -rf {} +\n"
    return Dependencies(
        title=f"Installing dependencies from {manager.lock or 'package.json'}",
        script=script,
        files=files,
        whole_source=whole,
        environment=_ENVIRONMENT,
        config_names=frozenset(
            found
            for name in _SETTINGS
            if name in files
            for found in _VARIABLE.findall(files[name].decode("utf-8", "replace"))
        ),
        hint=f"Correct {manager.lock or 'package.json'}, check that it installs on your machine, and push again.",
    )
