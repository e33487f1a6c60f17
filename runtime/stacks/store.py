"""Stacks on demand: made once on a machine, kept in the registry, found there ever after."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from isal import igzip

from runtime.errors import InvalidInput, ManifestUnknown
from runtime.images.layers import LayerFile, assemble, compress_layer
from runtime.images.values import EPOCH, OCI_LAYER, Descriptor, Image, Layer, canonical_json, host_architecture
from runtime.registry.auth import Scope
from runtime.registry.client import Registry
from runtime.stacks import debian13
from runtime.stacks.make import FILES, RECIPE, Wanted, make_rootfs
from runtime.stacks.tars import read_index, write_delta

if TYPE_CHECKING:
    from runtime.builder.api import BuildConsole, HostSettings
    from runtime.engine.api import Engine

log = logging.getLogger(__name__)

_BASE = "base"
_SOURCES = ("etc/apt/sources.list", "etc/apt/sources.list.d")


@dataclass(frozen=True, slots=True)
class Stack:
    """An image to build and run apps on. `image.repository` and `repository` say where the registry has it."""

    image: Image
    repository: str
    language: str
    digest: str
    epoch: int = EPOCH  # no file in it claims to be younger


@dataclass(frozen=True, slots=True)
class _Level:
    """One layer on those below it. Its key says everything that decides what is in it."""

    name: str  # "base", "python", "python-build"
    packages: tuple[str, ...]
    lower: tuple[_Level, ...] = ()
    key: str = field(init=False)

    def __post_init__(self) -> None:
        facts = [RECIPE, debian13.NAME, host_architecture(), sorted(self.packages), dict(debian13.ENVIRONMENT)]
        if self.lower:
            facts.append(self.lower[-1].key)
        else:
            facts += [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in sorted(FILES.iterdir())]
        object.__setattr__(self, "key", hashlib.sha256(canonical_json(facts)).hexdigest()[:32])

    @property
    def repository(self) -> str:
        return f"stacks/{debian13.NAME}-{self.name}"

    @property
    def all(self) -> tuple[_Level, ...]:
        return (*self.lower, self)


class StackStore:
    """Gives stacks, making those that the registry does not have. Threads and processes may share `work_dir`: a stack
    that two of them want at once is made by one.

    Finished layers are kept under `work_dir`, so that an emptied registry costs seconds and another language does not
    have to make the base again; `keep=False` leaves nothing there.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        work_dir: Path,
        host: HostSettings,
        engine: Engine | None = None,
        keep: bool = True,
    ) -> None:
        self._registry = registry
        self._work_dir = work_dir
        self._host = host
        self._engine = engine
        self._keep = keep

    def run_stack(self, language: str, console: BuildConsole) -> Stack:
        """What apps of this language run on."""
        return self._stack(run_level(language), language, console)

    def build_stack(self, language: str, console: BuildConsole) -> Stack:
        """The run stack with compilers and headers on top. It shares the run stack's layers."""
        return self._stack(build_level(language), language, console)

    def find(self, language: str, *, build: bool = False) -> Stack | None:
        """The stack, if the registry has it already."""
        return self._find(build_level(language) if build else run_level(language), language)

    def _find(self, level: _Level, language: str) -> Stack | None:
        try:
            image = self._registry.get_image(level.repository, level.key)
        except ManifestUnknown:
            return None
        return Stack(image, level.repository, language, image.digest)

    def _stack(self, level: _Level, language: str, console: BuildConsole) -> Stack:
        found = self._find(level, language)
        if found is not None:
            return found
        self._work_dir.mkdir(parents=True, exist_ok=True)
        with self._locked(console):
            # Whoever had the lock may have made it.
            found = self._find(level, language)
            if found is not None:
                return found
            started = time.monotonic()
            console.step(f"Preparing the {_title(level)} stack ({debian13.NAME}), once for this machine")
            stack = self._make(level, language, console)
            seconds = time.monotonic() - started
            console.line(f"ready in {seconds:.1f} s, {stack.image.size / 1e6:.0f} MB")
            log.info("stack_made", extra={"stack": level.name, "digest": stack.digest, "seconds": round(seconds, 1)})
        if self._engine is not None:
            token = self._registry.engine_token(Scope(stack.repository, "pull"))
            self._engine.pull(self._registry.reference(stack.repository, stack.digest), registry_token=token)
        return stack

    def _make(self, level: _Level, language: str, console: BuildConsole) -> Stack:
        with tempfile.TemporaryDirectory(prefix="making-", dir=self._work_dir) as folder:
            workshop = _Workshop(Path(folder), self._registry, self._kept_dir, self._host, console)
            files = workshop.layers(level)
            started = time.monotonic()
            images = self._publish(level, files)
            console.line(f"registry: {time.monotonic() - started:.1f} s")
        return Stack(images[-1], level.repository, language, images[-1].digest)

    def _publish(self, level: _Level, files: Sequence[LayerFile | Layer]) -> list[Image]:
        """Every level below is an image too: the next language looks for the base, a build stack for its run stack."""
        images = []
        for number, current in enumerate(level.all, 1):
            below = level.all[number - 2].repository if number > 1 else ""
            layers = []
            for file, owner in zip(files[:number], level.all, strict=False):
                if isinstance(file, LayerFile):
                    self._registry.push_blob(current.repository, file, mount_from=owner.repository)
                    layers.append(file.layer)
                else:
                    layers.append(file)
            image = assemble(
                Image.empty(),
                layers,
                entrypoint=["/paas/launcher"],
                environment=debian13.ENVIRONMENT,
                labels={"paas.stack": debian13.NAME, "paas.stack.key": current.key},
                user="app",
                working_dir="/app",
            )
            self._registry.mount_layers(current.repository, image, below or current.repository)
            self._registry.put_image(current.repository, image, current.key)
            images.append(image.in_repository(current.repository))
        return images

    @property
    def _kept_dir(self) -> Path | None:
        if not self._keep:
            return None
        kept = self._work_dir / "layers"
        kept.mkdir(parents=True, exist_ok=True)
        return kept

    @contextmanager
    def _locked(self, console: BuildConsole) -> Iterator[None]:
        """Held by the kernel for as long as this process has the file open: one that is killed leaves no lock behind."""
        with (self._work_dir / "stacks.lock").open("w") as file:
            waiting = False
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not waiting:
                        console.line("Another build is preparing a stack; waiting for it.")
                        waiting = True
                    console.check()
                    time.sleep(0.2)
            self._sweep()
            yield

    def _sweep(self) -> None:
        """What a killed process left half done. Nobody else works here: we hold the lock."""
        for folder in self._work_dir.glob("making-*"):
            shutil.rmtree(folder, ignore_errors=True)


class _Workshop:
    """Makes the layers of one stack, taking those that are there already."""

    def __init__(
        self, folder: Path, registry: Registry, kept: Path | None, host: HostSettings, console: BuildConsole
    ) -> None:
        self._folder = folder
        self._registry = registry
        self._kept = kept
        self._host = host
        self._console = console

    def layers(self, level: _Level) -> list[LayerFile | Layer]:
        """From the base up. A language whose base is missing is made together with it, in one run."""
        made: list[LayerFile | Layer] = []
        tars: list[Path] = []
        levels = list(level.all)
        while levels:
            current = levels.pop(0)
            below = [file.diff_id for file in made]
            found = self._from_disk(current, below) or self._from_registry(current, below)
            if found is not None:
                made.append(found)
                continue
            if not made and levels:
                made += self._make_base_and(levels.pop(0), current, tars)
            else:
                self._inflate(level.all, made, tars)
                made.append(self._make(current, made, tars))
        return made

    def _make_base_and(self, current: _Level, base: _Level, tars: list[Path]) -> list[LayerFile | Layer]:
        base_raw, raw = self._folder / "base.raw", self._folder / f"{current.name}.raw"
        self._console.line("made from Debian packages, together with the base that all stacks share")
        wanted = Wanted(packages=current.packages, out=raw, base_out=base_raw)
        make_rootfs(wanted, host=self._host, work_dir=self._folder, console=self._console)
        base_file = self._finish(base, base_raw, [], tars)
        return [base_file, self._finish(current, raw, [base_file], tars)]

    def _make(self, current: _Level, made: Sequence[LayerFile | Layer], tars: list[Path]) -> LayerFile:
        raw = self._folder / f"{current.name}.raw"
        self._console.line("made from Debian packages")
        large = current.name.endswith("-build")
        wanted = Wanted(packages=current.packages, out=raw, lower=tuple(tars), large=large)
        make_rootfs(wanted, host=self._host, work_dir=self._folder, console=self._console)
        return self._finish(current, raw, made, tars)

    def _finish(self, level: _Level, raw: Path, made: Sequence[LayerFile | Layer], tars: list[Path]) -> LayerFile:
        started = time.monotonic()
        tar = self._folder / f"{level.name}.tar"
        # The sources of a mirror of this host's own would not mean anything elsewhere.
        write_delta(raw, read_index(tars), tar, drop=_SOURCES if self._host.debian_mirror else ())
        raw.unlink()
        file = compress_layer(tar, self._folder / f"{level.name}.tar.gz")
        tars.append(tar)
        self._console.line(f"{level.name} layer: {time.monotonic() - started:.1f} s")
        return self._keep(level, file, [lower.diff_id for lower in made])

    def _keep(self, level: _Level, file: LayerFile, below: Sequence[str]) -> LayerFile:
        if self._kept is None:
            return file
        path = self._kept / f"{level.name}-{level.key}.tar.gz"
        facts = {
            "digest": file.descriptor.digest,
            "size": file.descriptor.size,
            "diff_id": file.diff_id,
            "below": list(below),
        }
        shutil.move(file.path, path)
        note = path.with_suffix(".json.part")
        note.write_bytes(canonical_json(facts))
        note.rename(path.with_suffix(".json"))
        return LayerFile(path, file.descriptor, file.diff_id)

    def _from_disk(self, level: _Level, below: Sequence[str]) -> LayerFile | None:
        """A layer kept here, whole, and made on exactly the layers below."""
        if self._kept is None:
            return None
        path = self._kept / f"{level.name}-{level.key}.tar.gz"
        try:
            facts = json.loads(path.with_suffix(".json").read_bytes())
            descriptor = Descriptor(OCI_LAYER, str(facts["digest"]), int(facts["size"]))
            with path.open("rb") as file:
                digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
            if digest != descriptor.digest or facts["below"] != list(below):
                return None
            return LayerFile(path, descriptor, str(facts["diff_id"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _from_registry(self, level: _Level, below: Sequence[str]) -> Layer | None:
        """A layer the registry has, if it was made on exactly the layers below."""
        try:
            image = self._registry.get_image(level.repository, level.key)
        except ManifestUnknown:
            return None
        if [layer.diff_id for layer in image.layers[:-1]] != list(below):
            return None
        return image.layers[-1]

    def _inflate(self, levels: Sequence[_Level], made: Sequence[LayerFile | Layer], tars: list[Path]) -> None:
        """The tars of the layers so far; those made just now are there already."""
        for level, file in list(zip(levels, made, strict=False))[len(tars) :]:
            tar = self._folder / f"{level.name}.tar"
            packed = self._folder / f"{level.name}.fetched"
            if isinstance(file, LayerFile):
                packed = file.path
            else:
                with packed.open("wb") as out:
                    for data in self._registry.get_blob(level.repository, file.digest):
                        out.write(data)
            with igzip.open(packed, "rb") as source, tar.open("wb") as target:  # type: ignore[no-untyped-call]  # isal has no types for it
                shutil.copyfileobj(source, target, 1 << 20)
            tars.append(tar)


def base_level() -> _Level:
    return _Level(_BASE, debian13.BASE)


def run_level(language: str) -> _Level:
    packages = _language(language).run
    # A language that compiles to programs of their own needs nothing at run time.
    return _Level(language, packages, (base_level(),)) if packages else base_level()


def build_level(language: str) -> _Level:
    below = run_level(language)
    return _Level(f"{language}-build", _language(language).build, (*below.lower, below))


def _language(name: str) -> debian13.Language:
    try:
        return debian13.LANGUAGES[name]
    except KeyError:
        known = ", ".join(sorted(debian13.LANGUAGES))
        raise InvalidInput(
            f"The stack {debian13.NAME} has no language {name!r}.", hint=f"It has: {known}.", id="unknown_language"
        ) from None


def _title(level: _Level) -> str:
    language, _, build = level.name.partition("-")
    return f"{language.capitalize()} {build}".strip()
