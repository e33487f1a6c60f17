"""The few calls we need of a container engine, and the values that go in and out.

Drivers: `docker.py` (Docker Engine API 1.41 and later) and `memory.py`, held by one contract suite.
Every call may raise `EngineUnavailable`; a missing container raises `ContainerMissing`, a missing image `ImageMissing`,
anything else the engine refuses `EngineError`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import BinaryIO, Protocol


class State(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    PAUSED = "paused"
    DEAD = "dead"


class Health(StrEnum):
    """The verdict of the image's own HEALTHCHECK; NONE when it has none."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Mount:
    """A host path or a named volume, seen at `target` in the container."""

    source: str
    target: str
    read_only: bool = False
    is_volume: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """0 means no limit. `cpu_shares` is the relative weight (1024 = one share), `cpus` a hard ceiling in cores."""

    memory_bytes: int = 0
    cpus: float = 0.0
    cpu_shares: int = 1024
    pids: int = 1024


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """Everything a container is made of. Isolation is the default and has to be switched off to be without:
    all capabilities dropped, no-new-privileges, an init that reaps zombies, bounded logs, no published ports."""

    name: str
    image: str  # a reference by digest: 127.0.0.1:5000/app@sha256:…
    command: Sequence[str] = ()  # empty: the image's own
    entrypoint: Sequence[str] | None = None  # None: the image's own
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    network: str = ""  # "" = none at all
    address: str = ""  # a fixed IPv4 address in the network, "" = the engine's choice
    aliases: Sequence[str] = ()
    mounts: Sequence[Mount] = ()
    limits: Limits = Limits()
    user: str = ""
    working_dir: str = ""
    hostname: str = ""
    tty: bool = False
    open_stdin: bool = False
    read_only_root: bool = False
    drop_capabilities: bool = True
    oci_runtime: str = ""  # "" = the engine's default
    cgroup_parent: str = ""
    stop_grace_seconds: int = 30


@dataclass(frozen=True, slots=True)
class Container:
    """What the engine says of one container."""

    id: str
    name: str
    image: str
    labels: Mapping[str, str]
    state: State
    address: str  # IPv4 in its first network, "" when it has none
    exit_code: int | None = None
    oom_killed: bool = False
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    health: Health = Health.NONE
    # From `inspect` alone. Values of config vars: never to be logged, so not part of the representation either.
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class LogLine:
    stream: str  # "stdout" or "stderr"
    text: str  # without the line's end; undecodable bytes replaced
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to a container: start, die, oom, destroy, health_status."""

    action: str
    container_id: str
    labels: Mapping[str, str]
    at: datetime
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Network:
    id: str
    name: str
    subnet: str  # CIDR
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class EngineImage:
    reference: str  # host/repository@sha256:…
    size_bytes: int  # with layers that others share


@dataclass(frozen=True, slots=True)
class EngineInfo:
    version: str
    api_version: str
    storage_driver: str
    runtimes: Sequence[str]
    cgroup_version: str


@dataclass(frozen=True, slots=True)
class Exit:
    code: int
    oom_killed: bool = False


@dataclass(frozen=True, slots=True)
class Listener:
    """A TCP socket on which a container listens. `address` is "0.0.0.0" or "::" when every interface is meant."""

    address: str
    port: int


class Attached(Protocol):
    """A container's terminal or pipes, for one-off runs."""

    def fileno(self) -> int: ...
    def send(self, data: bytes) -> None: ...
    def receive(self, size: int = 65536) -> tuple[str, bytes]:
        """("stdout" | "stderr", bytes); empty bytes at the end. With a tty everything is stdout."""
        ...

    def close_stdin(self) -> None: ...
    def resize(self, rows: int, columns: int) -> None: ...


class Engine(Protocol):
    def info(self) -> EngineInfo: ...

    # images
    def pull(self, reference: str, *, registry_token: str = "") -> None:
        """Pull by digest; a no-op when the image is already there."""
        ...

    def has_image(self, reference: str) -> bool: ...
    def images(self, prefix: str) -> Sequence[EngineImage]:
        """Those pulled by digest under a reference that starts so: `127.0.0.1:5000/`."""
        ...

    def remove_image(self, reference: str) -> None:
        """Nothing happens when it is not there; one that a container was made of is refused: `EngineError`."""
        ...

    # containers
    def create(self, spec: ContainerSpec) -> str:
        """Returns the id. The name taken: `EngineError` with id "name_taken"."""
        ...

    def start(self, container_id: str) -> None: ...
    def stop(self, container_id: str, *, grace_seconds: int = 30) -> None:
        """SIGTERM, the grace, SIGKILL. Returns when the process is gone; a stopped one is fine."""
        ...

    def kill(self, container_id: str, *, signal: str = "SIGKILL") -> None: ...
    def remove(self, container_id: str) -> None:
        """Kill and remove with anonymous volumes; a missing one is fine."""
        ...

    def inspect(self, container_id: str) -> Container: ...
    def list(self, labels: Mapping[str, str] | Sequence[str] = ()) -> Sequence[Container]:
        """All containers, running or not, that carry every label: a mapping for key=value, a sequence for keys alone.
        One engine call, whatever their number (exit code and OOM are filled in only for those not running)."""
        ...

    def wait(self, container_id: str, *, timeout_seconds: float | None = None) -> Exit:
        """Raises TimeoutError."""
        ...

    def logs(
        self,
        container_id: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: datetime | None = None,
    ) -> Iterator[LogLine]: ...

    def listening(self, container_id: str) -> Sequence[Listener]:
        """Where it listens, for diagnoses: empty when that cannot be seen from here (a sandbox, a remote engine)."""
        ...

    def attach(self, container_id: str) -> AbstractContextManager[Attached]:
        """Attach to a created container before it is started, or to a running one."""
        ...

    def put_archive(self, container_id: str, path: str, tar: BinaryIO) -> None: ...
    def get_archive(self, container_id: str, path: str) -> Iterator[bytes]: ...

    # everything else
    def events(self, *, since: datetime | None = None, label: str = "") -> Iterator[Event]:
        """Blocks for ever; ends with `EngineUnavailable` when the engine goes away."""
        ...

    def ensure_network(self, name: str, *, subnet: str, labels: Mapping[str, str], internal: bool = False) -> Network: ...
    def remove_network(self, name: str) -> None:
        """A missing one is fine; one in use raises `EngineError`."""
        ...

    def list_networks(self, labels: Sequence[str] = ()) -> Sequence[Network]: ...
    def remove_volume(self, name: str) -> None: ...
    def list_volumes(self, labels: Sequence[str] = ()) -> Sequence[str]: ...
