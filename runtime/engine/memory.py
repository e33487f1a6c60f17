"""An engine without containers: the same promises as Docker's, kept in memory, for tests.

What the processes of an image would do is told by a `Behaviour`. Time never passes by itself: a stubborn process dies at
the end of its grace at once, and `end` lets any process end when the test says so.
"""

from __future__ import annotations

import io
import ipaddress
import os
import tarfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import BinaryIO

from runtime.engine.api import (
    Attached,
    Container,
    ContainerSpec,
    EngineImage,
    EngineInfo,
    Event,
    Exit,
    Health,
    Listener,
    LogLine,
    Network,
    State,
)
from runtime.errors import ContainerMissing, EngineError, EngineUnavailable, ImageMissing

KILLED = 137
TERMINATED = 143


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a process does. As it is here: it runs, listens on $PORT, answers 200, and ends on SIGTERM."""

    output: Sequence[tuple[str, str]] = ()  # ("stdout", line), written as it starts
    exit_code: int | None = None  # ends at once with it; None: runs until something ends it
    oom_killed: bool = False  # together with `exit_code`
    on_sigterm: int | None = TERMINATED  # its exit code then; None: ignores the signal
    last_words: Sequence[tuple[str, str]] = ()  # written on SIGTERM
    listens: Sequence[Listener] | None = None  # None: 0.0.0.0:$PORT
    http_status: int = 200
    health: Health = Health.NONE
    echoes: bool = False  # sends its input back, ends when that is closed: cat


Program = Behaviour | Callable[[ContainerSpec], Behaviour]


@dataclass(slots=True)
class _Process:
    spec: ContainerSpec
    behaviour: Behaviour
    container: Container
    log: list[LogLine] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    attached: list[_Attachment] = field(default_factory=list)
    size: tuple[int, int] | None = None


class MemoryEngine:
    """`add_image` gives it images; `end`, `available` and `started` are for tests."""

    def __init__(self, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._changed = threading.Condition(threading.RLock())
        self._registry: dict[str, Program] = {}
        self._images: set[str] = set()
        self._processes: dict[str, _Process] = {}
        self._networks: dict[str, Network] = {}
        self._volumes: dict[str, Mapping[str, str]] = {}
        self._events: list[Event] = []
        self._available = True
        self.tokens: list[str] = []  # registry tokens that pulls came with
        self.started: list[ContainerSpec] = []
        self.calls = 0

    # ---------------------------------------------------------------- for tests

    def add_image(self, reference: str, program: Program | None = None, *, present: bool = True) -> None:
        """In the registry, and on the machine as well unless `present` is false."""
        with self._changed:
            self._registry[reference] = program or Behaviour()
            if present:
                self._images.add(reference)

    def end(self, container_id: str, *, exit_code: int = 1, oom_killed: bool = False) -> None:
        """Let a process end by itself."""
        with self._changed:
            self._end(self._find(container_id), exit_code, oom_killed=oom_killed)

    def window(self, container_id: str) -> tuple[int, int] | None:
        """Rows and columns that its terminal was given."""
        with self._changed:
            return self._find(container_id).size

    @property
    def available(self) -> bool:
        return self._available

    @available.setter
    def available(self, value: bool) -> None:
        with self._changed:
            self._available = value
            self._changed.notify_all()

    def accepts(self, address: str, port: int, timeout_seconds: float = 0.0) -> bool:  # noqa: ARG002 - no time passes
        """What a TCP connection from the host would find."""
        process = self._at(address)
        return process is not None and any(
            listener.port == port and listener.address in {"0.0.0.0", "::", address}  # noqa: S104 - compared, not bound
            for listener in self._listeners(process)
        )

    def answers(self, address: str, port: int, path: str, host: str, timeout_seconds: float = 0.0) -> int | None:
        """What an HTTP request from the host would get: a status, None without a connection."""
        del path, host
        process = self._at(address)
        if process is None or not self.accepts(address, port, timeout_seconds):
            return None
        return process.behaviour.http_status

    def _at(self, address: str) -> _Process | None:
        with self._changed:
            running = (each for each in self._processes.values() if each.container.state is State.RUNNING)
            return next((each for each in running if each.container.address == address), None)

    def _listeners(self, process: _Process) -> Sequence[Listener]:
        if process.behaviour.listens is not None:
            return process.behaviour.listens
        port = process.spec.environment.get("PORT", "")
        return [Listener("0.0.0.0", int(port))] if port else []  # noqa: S104 - a value, not a socket

    # ---------------------------------------------------------------- engine and images

    def info(self) -> EngineInfo:
        with self._call():
            return EngineInfo("0", "1.41", "memory", ("runc",), "2")

    def pull(self, reference: str, *, registry_token: str = "") -> None:
        with self._call():
            if reference in self._images:
                return
            if reference not in self._registry:
                raise ImageMissing(f"The registry has no {reference}.")
            self.tokens.append(registry_token)
            self._images.add(reference)

    def has_image(self, reference: str) -> bool:
        with self._call():
            return reference in self._images

    def images(self, prefix: str) -> Sequence[EngineImage]:
        with self._call():
            return [
                EngineImage(reference, 1_000_000) for reference in sorted(self._images) if reference.startswith(prefix)
            ]

    def remove_image(self, reference: str) -> None:
        with self._call():
            if any(each.container.image == reference for each in self._processes.values()):
                raise EngineError(f"{reference} is used by a container.", id="conflict")
            self._images.discard(reference)

    # ---------------------------------------------------------------- containers

    def create(self, spec: ContainerSpec) -> str:
        with self._call():
            if spec.image not in self._images:
                raise ImageMissing(f"The engine has no such image: {spec.image}.")
            if any(each.container.name == spec.name for each in self._processes.values()):
                raise EngineError(f"There is a container named {spec.name} already.", id="name_taken")
            program = self._registry[spec.image]
            container_id = uuid.uuid4().hex * 2
            self._processes[container_id] = _Process(
                spec=spec,
                behaviour=program if isinstance(program, Behaviour) else program(spec),
                container=Container(
                    id=container_id,
                    name=spec.name,
                    image=spec.image,
                    labels=dict(spec.labels),
                    state=State.CREATED,
                    address=spec.address,
                    created_at=self._now(),
                ),
            )
            for mount in spec.mounts:
                if mount.is_volume:
                    self._volumes.setdefault(mount.source, {})
            return container_id

    def start(self, container_id: str) -> None:
        with self._call():
            process = self._find(container_id)
            if process.container.state is State.RUNNING:
                return
            address = self._join(process.spec)
            now = self._now()
            self._set(
                process,
                state=State.RUNNING,
                address=address,
                started_at=now,
                finished_at=None,
                exit_code=None,
                health=process.behaviour.health,
            )
            self.started.append(process.spec)
            self._event(process, "start")
            for stream, text in process.behaviour.output:
                self._write(process, stream, text + "\n")
            if process.behaviour.exit_code is not None:
                self._end(process, process.behaviour.exit_code, oom_killed=process.behaviour.oom_killed)

    def stop(self, container_id: str, *, grace_seconds: int = 30) -> None:
        del grace_seconds
        with self._call():
            process = self._find(container_id)
            if process.container.state is not State.RUNNING:
                return
            self._signal(process, "SIGTERM")
            if process.container.state is State.RUNNING:
                self._signal(process, "SIGKILL")

    def kill(self, container_id: str, *, signal: str = "SIGKILL") -> None:
        with self._call():
            process = self._find(container_id)
            if process.container.state is State.RUNNING:
                self._signal(process, signal)

    def remove(self, container_id: str) -> None:
        with self._call():
            try:
                process = self._find(container_id)
            except ContainerMissing:
                return
            if process.container.state is State.RUNNING:
                self._signal(process, "SIGKILL")
            del self._processes[process.container.id]
            for attachment in process.attached:
                attachment.end()
            self._event(process, "destroy")

    def inspect(self, container_id: str) -> Container:
        with self._call():
            process = self._find(container_id)
            return replace(process.container, environment=dict(process.spec.environment))

    def list(self, labels: Mapping[str, str] | Sequence[str] = ()) -> Sequence[Container]:
        with self._call():
            return [each.container for each in self._processes.values() if _carries(each.container.labels, labels)]

    def wait(self, container_id: str, *, timeout_seconds: float | None = None) -> Exit:
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        with self._call():
            process = self._find(container_id)
            while process.container.state is State.RUNNING:
                self._pause(deadline, container_id)
            return Exit(process.container.exit_code or 0, process.container.oom_killed)

    def logs(
        self,
        container_id: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: datetime | None = None,
    ) -> Iterator[LogLine]:
        with self._call():
            process = self._find(container_id)
            seen = 0 if tail is None else max(0, len(process.log) - tail)
        return self._follow(process, seen, since, follow=follow)

    def _follow(self, process: _Process, seen: int, since: datetime | None, *, follow: bool) -> Iterator[LogLine]:
        while True:
            with self._call():
                while follow and len(process.log) <= seen and process.container.state is State.RUNNING:
                    self._pause(None, process.container.id)
                fresh = process.log[seen:]
                seen += len(fresh)
            if not fresh:
                return
            for line in fresh:
                if since is None or line.at is None or line.at >= since:
                    yield line

    def listening(self, container_id: str) -> Sequence[Listener]:
        with self._call():
            process = self._find(container_id)
            return self._listeners(process) if process.container.state is State.RUNNING else ()

    @contextmanager
    def attach(self, container_id: str) -> Iterator[Attached]:
        with self._call():
            process = self._find(container_id)
            attachment = _Attachment(self, process)
            process.attached.append(attachment)
        try:
            yield attachment
        finally:
            with self._changed:
                process.attached.remove(attachment)
                attachment.close()

    def put_archive(self, container_id: str, path: str, tar: BinaryIO) -> None:
        with self._call():
            process = self._find(container_id)
            with tarfile.open(fileobj=io.BytesIO(tar.read())) as archive:
                for member in archive:
                    content = archive.extractfile(member)
                    if content is not None:
                        process.files[f"{path.rstrip('/')}/{member.name.removeprefix('./')}"] = content.read()

    def get_archive(self, container_id: str, path: str) -> Iterator[bytes]:
        with self._call():
            files = self._find(container_id).files
            wanted = path.rstrip("/")
            parent = wanted.rpartition("/")[0]
            chosen = {name: data for name, data in files.items() if name == wanted or name.startswith(f"{wanted}/")}
            if not chosen:
                raise ContainerMissing(f"The engine knows nothing of it: no such path {path} in the container.")
            out = io.BytesIO()
            with tarfile.open(fileobj=out, mode="w") as archive:
                for name, data in sorted(chosen.items()):
                    member = tarfile.TarInfo(name.removeprefix(f"{parent}/"))
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
        yield out.getvalue()

    # ---------------------------------------------------------------- events, networks, volumes

    def events(self, *, since: datetime | None = None, label: str = "") -> Iterator[Event]:
        with self._call():
            seen = 0 if since is not None else len(self._events)
        return self._tell_events(seen, since, label)

    def _tell_events(self, seen: int, since: datetime | None, label: str) -> Iterator[Event]:
        while True:
            with self._call():
                while len(self._events) <= seen:
                    self._pause(None, "")
                event = self._events[seen]
                seen += 1
            wanted = (dict([label.split("=", 1)]) if "=" in label else [label]) if label else ()
            if (since is None or event.at >= since) and _carries(event.labels, wanted):
                yield event

    def ensure_network(self, name: str, *, subnet: str, labels: Mapping[str, str], internal: bool = False) -> Network:
        del internal
        with self._call():
            if name not in self._networks:
                wanted = ipaddress.ip_network(subnet)
                if any(wanted.overlaps(ipaddress.ip_network(each.subnet)) for each in self._networks.values()):
                    raise EngineError(f"The engine refused: the subnet {subnet} overlaps with another network's.")
                self._networks[name] = Network(uuid.uuid4().hex, name, subnet, dict(labels))
            return self._networks[name]

    def remove_network(self, name: str) -> None:
        with self._call():
            if any(each.spec.network == name for each in self._running()):
                raise EngineError(f"The engine refused: the network {name} has active endpoints.", id="in_use")
            self._networks.pop(name, None)

    def list_networks(self, labels: Sequence[str] = ()) -> Sequence[Network]:
        with self._call():
            return [each for each in self._networks.values() if _carries(each.labels, labels)]

    def remove_volume(self, name: str) -> None:
        with self._call():
            users = (mount for each in self._processes.values() for mount in each.spec.mounts if mount.is_volume)
            if any(mount.source == name for mount in users):
                raise EngineError(f"The engine refused: the volume is in use: {name}.", id="in_use")
            self._volumes.pop(name, None)

    def list_volumes(self, labels: Sequence[str] = ()) -> Sequence[str]:
        with self._call():
            return [name for name, own in self._volumes.items() if _carries(own, labels)]

    # ---------------------------------------------------------------- inside

    @contextmanager
    def _call(self) -> Iterator[None]:
        with self._changed:
            self.calls += 1
            self._check()
            yield

    def _check(self) -> None:
        if not self._available:
            raise EngineUnavailable("The container engine does not answer.")

    def _pause(self, deadline: float | None, container_id: str) -> None:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError(f"Container {container_id[:12]} still runs.")
        self._changed.wait(left)
        self._check()

    def _find(self, container_id: str) -> _Process:
        for process in self._processes.values():
            if container_id in {process.container.id, process.container.name}:
                return process
        raise ContainerMissing(f"The engine knows nothing of it: No such container: {container_id}.")

    def _running(self) -> Sequence[_Process]:
        return [each for each in self._processes.values() if each.container.state is State.RUNNING]

    def _join(self, spec: ContainerSpec) -> str:
        if not spec.network:
            return ""
        network = self._networks.get(spec.network)
        if network is None:
            raise EngineError(f"The engine misses a network: network {spec.network} not found.", id="network_missing")
        taken = {each.container.address for each in self._running()}
        if spec.address:
            if spec.address in taken:
                raise EngineError(f"The engine refused: Address already in use: {spec.address}.")
            return spec.address
        hosts = ipaddress.ip_network(network.subnet).hosts()
        next(hosts)  # the gateway
        free = next((str(host) for host in hosts if str(host) not in taken), None)
        if free is None:
            raise EngineError(f"The engine refused: no address is left in {network.subnet}.")
        return free

    def _signal(self, process: _Process, signal: str) -> None:
        match signal.removeprefix("SIG"):
            case "KILL":
                self._end(process, KILLED)
            case "TERM" if process.behaviour.on_sigterm is not None:
                for stream, text in process.behaviour.last_words:
                    self._write(process, stream, text + "\n")
                self._end(process, process.behaviour.on_sigterm)

    def _end(self, process: _Process, exit_code: int, *, oom_killed: bool = False) -> None:
        self._set(
            process,
            state=State.EXITED,
            address=process.spec.address,
            exit_code=exit_code,
            oom_killed=oom_killed,
            finished_at=self._now(),
            health=Health.NONE,
        )
        for attachment in process.attached:
            attachment.end()
        if oom_killed:
            self._event(process, "oom")
        self._event(process, "die", exit_code)

    def _set(self, process: _Process, **changes: object) -> None:
        before = process.container
        values = {name: getattr(before, name) for name in Container.__dataclass_fields__}
        process.container = Container(**{**values, **changes})
        self._changed.notify_all()

    def _write(self, process: _Process, stream: str, text: str) -> None:
        for line in text.splitlines():
            process.log.append(LogLine(stream, line, self._now()))
        for attachment in process.attached:
            attachment.put(stream, text.encode())
        self._changed.notify_all()

    def _event(self, process: _Process, action: str, exit_code: int | None = None) -> None:
        self._events.append(
            Event(action, process.container.id, process.container.labels, self._now(), exit_code),
        )
        self._changed.notify_all()

    def feed(self, process: _Process, data: bytes) -> None:
        with self._call():
            if process.container.state is State.RUNNING and process.behaviour.echoes:
                self._write(process, "stdout", data.decode(errors="replace"))

    def close_input(self, process: _Process) -> None:
        with self._call():
            if process.container.state is State.RUNNING and process.behaviour.echoes:
                self._end(process, 0)

    def resize(self, process: _Process, rows: int, columns: int) -> None:
        with self._call():
            if process.container.state is not State.RUNNING:
                raise EngineError("The engine refused: the container is not running.", id="conflict")
            process.size = (rows, columns)


class _Attachment:
    """`fileno` can be polled: it is readable once for each waiting chunk, and for the end; it always takes input."""

    def __init__(self, engine: MemoryEngine, process: _Process) -> None:
        self._engine = engine
        self._process = process
        self._chunks: deque[tuple[str, bytes]] = deque()
        self._count = os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_CLOEXEC)
        self._ended = False

    def fileno(self) -> int:
        return self._count

    def send(self, data: bytes) -> None:
        self._engine.feed(self._process, data)

    def receive(self, size: int = 65536) -> tuple[str, bytes]:
        os.eventfd_read(self._count)
        if not self._chunks:
            os.eventfd_write(self._count, 1)  # the end stays
            return "stdout", b""
        stream, data = self._chunks.popleft()
        if len(data) > size:
            self._chunks.appendleft((stream, data[size:]))
            os.eventfd_write(self._count, 1)
        return stream, data[:size]

    def close_stdin(self) -> None:
        self._engine.close_input(self._process)

    def resize(self, rows: int, columns: int) -> None:
        self._engine.resize(self._process, rows, columns)

    def put(self, stream: str, data: bytes) -> None:
        if not self._ended:
            self._chunks.append((stream, data))
            os.eventfd_write(self._count, 1)

    def end(self) -> None:
        if not self._ended:
            self._ended = True
            os.eventfd_write(self._count, 1)

    def close(self) -> None:
        self.end()
        os.close(self._count)


def _carries(own: Mapping[str, str], wanted: Mapping[str, str] | Sequence[str]) -> bool:
    if isinstance(wanted, Mapping):
        return all(own.get(name) == value for name, value in wanted.items())
    return all(name in own for name in wanted)
