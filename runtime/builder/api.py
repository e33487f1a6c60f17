"""Source in, image out. What the builder is given, what it asks of the caller, what it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class SourceEntry:
    path: str  # relative, "/" between parts
    mode: int  # git's: 0o100644, 0o100755, 0o120000; directories and submodules are not listed
    size: int


class SourceTree(Protocol):
    """The files of one commit, or of an archive. The same `tree_id` and `time` mean the same bytes."""

    @property
    def tree_id(self) -> str: ...
    @property
    def commit(self) -> str: ...
    @property
    def time(self) -> int:
        """The commit's (or of the archive's newest file), as Unix time; every file carries it. With a constant one, a web
        server that makes its ETag of size and mtime would tell browsers that a changed file of the same size is the one
        they have."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """Things the developer should know: submodules left out, LFS pointers found."""
        ...

    def entries(self) -> Sequence[SourceEntry]: ...
    def read(self, path: str) -> bytes | None:
        """A regular file's content (at most 4 MiB of it), None when there is none."""
        ...

    def write_tar(self, out: BinaryIO, *, prefix: str, keep: Callable[[str], bool] | None = None) -> None:
        """A deterministic tar: sorted, uid/gid 0, mtime `time`, directories listed, modes 644/755/777; `prefix`
        like "app/" in front of each name."""
        ...


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What builds inherit from the host so that they work behind a corporate proxy. Nothing of it reaches an image."""

    has_own_ca: bool = False  # its bundle holds more than the distribution's: a proxy's, or the company's
    ca_bundle: Path | None = None  # mounted read-only over the image's bundle; SSL_CERT_FILE & co. point to it
    environment: Mapping[str, str] = field(default_factory=dict)  # proxies, UV_*, PIP_*, NPM_CONFIG_*
    mounts: Sequence[Path] = ()  # read-only, at the same path (find-links folders, pip.conf, npmrc)
    debian_mirror: str = ""  # "" = mmdebstrap's default


@dataclass(frozen=True, slots=True)
class BuildLimits:
    memory_bytes: int = 2 * 1024**3
    cpus: float = 0.0  # 0 = all
    cpu_shares: int = 256  # below that of apps
    pids: int = 2048
    deadline_seconds: float = 1200.0
    max_image_bytes: int = 4 * 1024**3


class BuildConsole(Protocol):
    """Where a build speaks and listens. `step` prints Heroku's arrow line, `line` an indented line under it."""

    def step(self, text: str) -> None: ...
    def line(self, text: str) -> None: ...
    def check(self) -> None:
        """Raises `BuildCancelled` or `BuildFailed` (id "build_timeout") when the build should stop. Cheap; call often."""
        ...


@dataclass(frozen=True, slots=True)
class BuildRequest:
    app: str  # name; the image goes to the repository "apps/<app id>"
    repository: str
    source: SourceTree
    environment: Mapping[str, str]  # config vars: visible to build steps, never in a layer, label, log, command line
    tags: Sequence[str]  # put on the image's manifest in the registry: "git-1a2b3c4d5e6f"
    labels: Mapping[str, str]  # for containers of this build (engine), not for the image
    build_id: str
    limits: BuildLimits = BuildLimits()
    stack: str = "debian-13"
    buildpacks: Sequence[str] = ()  # our names, in their order; () = what app.json or the source says
    fresh: bool = False  # made anew, whatever is kept of earlier builds; for those to come it is kept again


@dataclass(frozen=True, slots=True)
class LayerInfo:
    kind: str  # "stack" | "language" | "dependencies" | "generated" | "source" | "dockerfile"
    digest: str
    size: int  # compressed bytes
    reused: bool  # nothing was uploaded for it


@dataclass(frozen=True, slots=True)
class BuildResult:
    digest: str  # of the manifest
    repository: str
    size: int  # compressed bytes, all layers
    layers: Sequence[LayerInfo]
    process_types: Mapping[str, str]  # "web" -> the command line of the Procfile; without "release"
    release_command: str  # "" = none
    default_process: Sequence[str]  # image's own command is used for `web` when process_types has no entry: Dockerfile
    exposed_port: int  # what a Dockerfile EXPOSEs; 0 = we choose $PORT
    health_checks: Mapping[str, Mapping[str, object]]  # from app.json, per process type, validated
    stack: str
    buildpacks: Sequence[str]  # ("python",) or ("dockerfile",)
    launcher: bool  # True: our launcher is the entry point and takes ["start", "<type>"]
    has_image_health_check: bool
    seconds: Mapping[str, float]  # "stack", "dependencies", "source", "publish"


class Builder(Protocol):
    def build(self, request: BuildRequest, console: BuildConsole) -> BuildResult:
        """Raises `BuildFailed`, `BuildCancelled`, or a `PlatformError`. Leaves no container behind."""
        ...

    def warm(self, languages: Iterable[str], console: BuildConsole) -> None:
        """Make the stacks of these languages now, so that the first push does not wait for them."""
        ...

    def prune(self, older_than_seconds: float) -> int:
        """Drop cache entries unused for so long; returns how many."""
        ...
