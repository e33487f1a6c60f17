"""What should be true of one app: the desired side of `plan(desired, observed)`. Pure values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from runtime.router.api import PortProtocol, PublicPort

# Labels by which we know our containers.
APP = "paas.app"  # the app's name
APP_ID = "paas.app-id"
RELEASE = "paas.release"  # version number
PROCESS = "paas.process"  # process type
INDEX = "paas.index"
SPEC = "paas.spec"  # ProcessSpec.fingerprint(): a container with another one must be replaced
KIND = "paas.kind"  # "instance" | "release" | "run" | "build"
HOME = "paas.home"  # which platform on this engine it belongs to
EPOCH = "paas.epoch"  # AppSpec.restart_epoch it was started for
PORT = "paas.port"  # where it serves HTTP; absent when it gets no traffic
BOUND = "paas.bound"  # its ports that public ports lead to: "tcp/9000,udp/9001"; absent when there are none
GRACE = "paas.grace"  # seconds between SIGTERM and SIGKILL, as they were when it was started
LOGS = "paas.logs"  # "no": a terminal's output, which nobody would want to read in the log

INSTANCE = "instance"  # the value of KIND for what convergence looks after


class RouteSetting(StrEnum):
    """Keys of `AppSpec.settings`; their values are text."""

    TIMEOUT_SECONDS = "timeout_seconds"
    MAX_BODY_BYTES = "max_body_bytes"
    FORCE_HTTPS = "force_https"  # "true"


class CheckKind(StrEnum):
    TCP = "tcp"  # the port accepts a connection
    HTTP = "http"  # GET path answers 200-399
    UPTIME = "uptime"  # still running after `uptime_seconds`
    IMAGE = "image"  # the image's own HEALTHCHECK says healthy


@dataclass(frozen=True, slots=True)
class HealthCheck:
    kind: CheckKind
    path: str = ""
    port: int = 0
    uptime_seconds: float = 3.0
    timeout_seconds: float = 5.0  # of one attempt
    start_seconds: float = 60.0  # all attempts together; then the instance has failed


@dataclass(frozen=True, slots=True)
class BoundPort:
    """A port of a process type that a public port leads to."""

    protocol: PortProtocol
    port: int
    public_address: str
    public_port: int

    @property
    def key(self) -> PublicPort:
        return self.protocol, self.public_port

    def __str__(self) -> str:
        return f"{self.protocol} {self.public_address}:{self.public_port}"


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process type of one release."""

    process: str
    quantity: int
    image: str  # by digest
    command: Sequence[str]  # what the image's entry point is given; empty = the image's own command
    environment: Mapping[str, str]
    release: int
    port: int = 0  # HTTP; 0 = receives no traffic
    bound: Sequence[BoundPort] = ()
    memory_bytes: int = 512 * 1024 * 1024
    cpu_shares: int = 1024
    pids: int = 1024
    health: HealthCheck = HealthCheck(CheckKind.UPTIME)
    stop_grace_seconds: int = 30
    oci_runtime: str = ""

    def fingerprint(self) -> str:
        """Changes whenever a running container would have to be replaced. Quantity, health and grace don't count.
        The environment enters only through the hash, so nothing secret is readable in a label."""
        parts = [
            self.image,
            list(self.command),
            sorted(self.environment.items()),
            self.release,
            self.port,
            self.memory_bytes,
            self.cpu_shares,
            self.pids,
            self.oci_runtime,
        ]
        return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class AppSpec:
    """One app as it should be. `processes` empty = nothing runs (never deployed, or scaled to nothing)."""

    app: str
    app_id: str
    release: int  # 0 = none yet
    processes: Sequence[ProcessSpec] = ()
    hosts: Sequence[str] = ()
    maintenance: bool = False
    maintenance_page: str = ""  # HTML of the app's own; "" = ours
    stopped: bool = False  # by somebody, until somebody starts it: `processes` is empty then
    network: str = ""
    subnet: str = ""  # CIDR of the app's own network; .1 is the gateway
    restart_epoch: int = 0  # raised by "restart": instances started for an older one are replaced
    restarts: Mapping[str, int] = field(
        default_factory=dict
    )  # the same for a process type, `web`, or an instance, `web.1`
    settings: Mapping[str, str] = field(default_factory=dict)  # of the route: see `RouteSetting`
    deleted: bool = False  # nothing may be left: no instance, no route, no network

    def epoch_of(self, process: str, index: int) -> int:
        return max(self.restart_epoch, self.restarts.get(process, 0), self.restarts.get(f"{process}.{index}", 0))
