"""Docker Engine, API 1.41 and later; Podman's compatible API fits too.

The SDK gives the transport (sockets, TLS, version negotiation). Calls are made through its session, because its
helpers hide stream errors, merge stdout with stderr, and lose the bytes that arrive together with the headers of an
upgraded connection.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode, urlsplit

import requests
import urllib3
from docker import APIClient
from docker.errors import DockerException

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
    Mount,
    Network,
    State,
)
from runtime.errors import ContainerMissing, EngineError, EngineUnavailable, ImageMissing

_POOL = 64  # kept-alive connections; more threads than that merely open new ones
_REMEMBERED = 4096  # final states of containers that ended
_LONGEST_LINE = 256 * 1024
_STREAMS = {0: "stdout", 1: "stdout", 2: "stderr"}
_ENGINE_SPEAKS = 3  # the daemon's own error message inside a multiplexed stream
_LISTEN = "0A"  # the state of a socket in /proc/net/tcp
_ENGINES_RESOLVER = "127.0.0.11"  # the engine's name server listens inside of each container's namespace
_NETWORK_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)


class DockerEngine:
    """May be shared by threads and survives a fork. Connects at the first call, so that making one never fails."""

    def __init__(self, base_url: str = "unix:///var/run/docker.sock", *, timeout_seconds: float = 60.0) -> None:
        self._base_url = base_url
        self._timeout = timeout_seconds
        self._lock = threading.Lock()
        self._connected: APIClient | None = None
        self._owner = 0  # the process the connections belong to
        self._ended: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    def close(self) -> None:
        """Give the connections back. The next call makes new ones."""
        with self._lock:
            if self._connected is not None:
                self._connected.close()
                self._connected = None

    # ---------------------------------------------------------------- the engine itself

    def info(self) -> EngineInfo:
        info = self._json("GET", "/info")
        return EngineInfo(
            version=str(info.get("ServerVersion", "")),
            api_version=str(self._client().api_version),
            storage_driver=str(info.get("Driver", "")),
            runtimes=tuple(sorted(info.get("Runtimes") or ())),
            cgroup_version=str(info.get("CgroupVersion") or ""),
        )

    # ---------------------------------------------------------------- images

    def pull(self, reference: str, *, registry_token: str = "") -> None:
        if self.has_image(reference):
            return
        headers = {}
        if registry_token:
            credentials = json.dumps({"registrytoken": registry_token}).encode()
            headers["X-Registry-Auth"] = base64.urlsafe_b64encode(credentials).decode()
        with self._open(
            "POST", "/images/create", params={"fromImage": reference}, headers=headers, missing=ImageMissing
        ) as response:
            for message in self._json_stream(response):
                if "error" in message:
                    raise _pull_error(reference, str(message["error"]))

    def has_image(self, reference: str) -> bool:
        try:
            self._call("GET", f"/images/{reference}/json", missing=ImageMissing)
        except ImageMissing:
            return False
        return True

    def images(self, prefix: str) -> Sequence[EngineImage]:
        return [
            EngineImage(reference, int(entry.get("Size") or 0))
            for entry in self._json("GET", "/images/json")
            for reference in entry.get("RepoDigests") or ()
            if reference.startswith(prefix)
        ]

    def remove_image(self, reference: str) -> None:
        try:
            self._call("DELETE", f"/images/{reference}", missing=ImageMissing)
        except ImageMissing:
            return

    # ---------------------------------------------------------------- containers

    def create(self, spec: ContainerSpec) -> str:
        try:
            made = self._json(
                "POST", "/containers/create", params={"name": spec.name}, body=_config(spec), missing=ImageMissing
            )
        except EngineError as exc:
            if exc.id == "conflict":
                raise EngineError(f"There is a container named {spec.name} already.", id="name_taken") from exc
            raise
        return str(made["Id"])

    def start(self, container_id: str) -> None:
        self._call("POST", f"/containers/{container_id}/start")

    def stop(self, container_id: str, *, grace_seconds: int = 30) -> None:
        self._call(
            "POST",
            f"/containers/{container_id}/stop",
            params={"t": grace_seconds},
            timeout=grace_seconds + self._timeout,
        )

    def kill(self, container_id: str, *, signal: str = "SIGKILL") -> None:
        try:
            self._call("POST", f"/containers/{container_id}/kill", params={"signal": signal})
        except EngineError as exc:
            if exc.id != "conflict":  # not running: there is nothing to signal
                raise

    def remove(self, container_id: str) -> None:
        try:
            self._call("DELETE", f"/containers/{container_id}", params={"force": 1, "v": 1})
        except ContainerMissing:
            pass
        except EngineError as exc:
            if exc.id != "conflict":  # somebody else is removing it at this moment
                raise
        with self._lock:
            self._ended.pop(container_id, None)

    def inspect(self, container_id: str) -> Container:
        return _inspected(self._json("GET", f"/containers/{container_id}/json"))

    def list(self, labels: Mapping[str, str] | Sequence[str] = ()) -> Sequence[Container]:
        filters = {"label": _label_filters(labels)} if labels else {}
        listed = self._json("GET", "/containers/json", params={"all": 1, "filters": json.dumps(filters)})
        containers = []
        for entry in listed:
            container = _listed(entry)
            if container.state is not State.RUNNING and container.state is not State.CREATED:
                ended = self._ended_details(container.id)
                if ended is None:
                    continue  # removed since the list was made
                container = _inspected(ended)
            containers.append(container)
        return containers

    def _ended_details(self, container_id: str) -> Mapping[str, Any] | None:
        """How a container ended never changes (we start none twice), so one inspect is enough."""
        with self._lock:
            known = self._ended.get(container_id)
        if known is not None:
            return known
        try:
            details: Mapping[str, Any] = self._json("GET", f"/containers/{container_id}/json")
        except ContainerMissing:
            return None
        if details["State"].get("Status") == "exited":
            with self._lock:
                self._ended[container_id] = details
                while len(self._ended) > _REMEMBERED:
                    self._ended.popitem(last=False)
        return details

    def wait(self, container_id: str, *, timeout_seconds: float | None = None) -> Exit:
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        try:
            with self._open("POST", f"/containers/{container_id}/wait", read_timeout=timeout_seconds) as response:
                # The headers come at once, the body when the process ends.
                result = json.loads(_read_all(response))
        except EngineUnavailable as exc:
            if exc.id == "engine_timeout" and deadline is not None:
                raise TimeoutError(f"Container {container_id[:12]} still runs after {timeout_seconds:g} s.") from exc
            raise
        try:
            oom_killed = self.inspect(container_id).oom_killed
        except ContainerMissing:  # removed as soon as it ended
            oom_killed = False
        return Exit(code=int(result["StatusCode"]), oom_killed=oom_killed)

    def logs(
        self,
        container_id: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: datetime | None = None,
    ) -> Iterator[LogLine]:
        tty = bool(self._json("GET", f"/containers/{container_id}/json")["Config"].get("Tty"))
        params: dict[str, object] = {"stdout": 1, "stderr": 1, "timestamps": 1, "follow": int(follow)}
        if tail is not None:
            params["tail"] = tail
        if since is not None:
            params["since"] = f"{since.timestamp():.6f}"
        return self._log_lines(container_id, params, tty=tty)

    def _log_lines(self, container_id: str, params: Mapping[str, object], *, tty: bool) -> Iterator[LogLine]:
        with self._open("GET", f"/containers/{container_id}/logs", params=params, read_timeout=None) as response:
            chunks = self._chunks(response)
            yield from _tty_lines(chunks) if tty else _multiplexed_lines(chunks)

    def listening(self, container_id: str) -> Sequence[Listener]:
        pid = int(self._json("GET", f"/containers/{container_id}/json")["State"].get("Pid") or 0)
        return _listeners(Path(f"/proc/{pid}/net")) if pid else ()

    @contextmanager
    def attach(self, container_id: str) -> Iterator[Attached]:
        details = self._json("GET", f"/containers/{container_id}/json")
        config = details["Config"]
        params = {"stream": 1, "stdout": 1, "stderr": 1, "stdin": int(bool(config.get("OpenStdin")))}
        connection = self._upgrade(f"/containers/{container_id}/attach?{urlencode(params)}")
        try:
            yield _Attachment(self, container_id, connection, tty=bool(config.get("Tty")))
        finally:
            connection.close()

    def resize(self, container_id: str, rows: int, columns: int) -> None:
        self._call("POST", f"/containers/{container_id}/resize", params={"h": rows, "w": columns})

    def put_archive(self, container_id: str, path: str, tar: BinaryIO) -> None:
        self._call("PUT", f"/containers/{container_id}/archive", params={"path": path}, data=tar)

    def get_archive(self, container_id: str, path: str) -> Iterator[bytes]:
        with self._open("GET", f"/containers/{container_id}/archive", params={"path": path}) as response:
            yield from self._chunks(response)

    # ---------------------------------------------------------------- events, networks, volumes

    def events(self, *, since: datetime | None = None, label: str = "") -> Iterator[Event]:
        filters: dict[str, list[str]] = {"type": ["container"]}
        if label:
            filters["label"] = [label]
        params: dict[str, object] = {"filters": json.dumps(filters)}
        if since is not None:
            params["since"] = f"{since.timestamp():.6f}"
        with self._open("GET", "/events", params=params, read_timeout=None) as response:
            for message in self._json_stream(response):
                yield _event(message)
        raise EngineUnavailable("The container engine closed its stream of events.")

    def ensure_network(self, name: str, *, subnet: str, labels: Mapping[str, str], internal: bool = False) -> Network:
        known = self._network(name)
        if known is not None:
            return known
        body = {
            "Name": name,
            "Driver": "bridge",
            "CheckDuplicate": True,
            "Internal": internal,
            "Labels": dict(labels),
            "IPAM": {"Driver": "default", "Config": [{"Subnet": subnet}]},
        }
        try:
            self._call("POST", "/networks/create", body=body)
        except EngineError as exc:
            if exc.id != "conflict":
                raise
        made = self._network(name)
        if made is None:
            raise EngineError(f"The network {name} disappeared while it was being made.")
        return made

    def _network(self, name: str) -> Network | None:
        found = self._json("GET", "/networks", params={"filters": json.dumps({"name": [name]})})
        return next((_network(entry) for entry in found if entry["Name"] == name), None)  # the filter matches substrings

    def remove_network(self, name: str) -> None:
        try:
            self._call("DELETE", f"/networks/{name}", missing=_Missing)
        except _Missing:
            return

    def list_networks(self, labels: Sequence[str] = ()) -> Sequence[Network]:
        filters = {"label": list(labels)} if labels else {}
        return [_network(entry) for entry in self._json("GET", "/networks", params={"filters": json.dumps(filters)})]

    def remove_volume(self, name: str) -> None:
        try:
            self._call("DELETE", f"/volumes/{name}", missing=_Missing)
        except _Missing:
            return

    def list_volumes(self, labels: Sequence[str] = ()) -> Sequence[str]:
        filters = {"label": list(labels)} if labels else {}
        found = self._json("GET", "/volumes", params={"filters": json.dumps(filters)})
        return [str(entry["Name"]) for entry in found.get("Volumes") or ()]

    # ---------------------------------------------------------------- how a call is made

    def _client(self) -> APIClient:
        with self._lock:
            if self._connected is None or self._owner != os.getpid():
                try:
                    self._connect().close()  # the SDK leaks its socket and blurs the reason when nobody listens
                    client = APIClient(
                        base_url=self._base_url, version="auto", timeout=max(1, int(self._timeout)), max_pool_size=_POOL
                    )
                except (DockerException, *_NETWORK_ERRORS) as exc:
                    raise self._unavailable(exc) from exc
                client.trust_env = False  # no proxy between us and the engine
                self._connected, self._owner = client, os.getpid()
            return self._connected

    def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, object] | None = None,
        body: object = None,
        data: BinaryIO | None = None,
        timeout: float | None = None,
        missing: type[EngineError] = ContainerMissing,
    ) -> bytes:
        with self._open(
            method,
            path,
            params=params,
            body=body,
            data=data,
            read_timeout=self._timeout if timeout is None else timeout,
            missing=missing,
        ) as response:
            return _read_all(response)

    def _json(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, object] | None = None,
        body: object = None,
        missing: type[EngineError] = ContainerMissing,
    ) -> Any:
        return json.loads(self._call(method, path, params=params, body=body, missing=missing))

    @contextmanager
    def _open(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, object] | None = None,
        body: object = None,
        data: BinaryIO | None = None,
        headers: Mapping[str, str] | None = None,
        read_timeout: float | None = -1.0,
        missing: type[EngineError] = ContainerMissing,
    ) -> Iterator[requests.Response]:
        """The one place where requests leave and exceptions are translated, also those raised while the body is read.
        `read_timeout` is the longest silence we bear: the engine's own setting unless told, None for ever."""
        client = self._client()
        silence = self._timeout if read_timeout is not None and read_timeout < 0 else read_timeout
        sent = dict(headers or {})
        payload: bytes | BinaryIO | None = data
        if data is not None:
            sent["Content-Type"] = "application/x-tar"
        elif body is not None:
            sent["Content-Type"] = "application/json"
            payload = json.dumps(body).encode()
        response: requests.Response | None = None
        try:
            response = client.request(
                method,
                self._url(client, path),
                params={name: str(value) for name, value in (params or {}).items()},
                data=payload,
                headers=sent,
                stream=True,
                timeout=(self._timeout, silence),
            )
            if response.status_code >= 400:
                raise _refusal(response.status_code, _message(_read_all(response)), missing)
            yield response
        except (DockerException, *_NETWORK_ERRORS) as exc:
            raise self._unavailable(exc) from exc
        finally:
            if response is not None:
                response.close()

    def _url(self, client: APIClient, path: str) -> str:
        return f"{client.base_url}/v{client.api_version}{quote(path, safe='/:@')}"

    def _unavailable(self, exc: BaseException) -> EngineUnavailable:
        if _is_timeout(exc):
            return EngineUnavailable(
                f"The container engine at {self._base_url} did not answer in time.", id="engine_timeout"
            )
        return EngineUnavailable(
            f"The container engine at {self._base_url} does not answer: {_root_cause(exc)}.",
            hint="Is it running? See: systemctl status docker",
        )

    def _chunks(self, response: requests.Response) -> Iterator[bytes]:
        """Bytes as they arrive, never held back until a buffer is full."""
        yield from response.raw.stream(65536, decode_content=True)

    def _json_stream(self, response: requests.Response) -> Iterator[Mapping[str, Any]]:
        rest = b""
        for chunk in self._chunks(response):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.strip():
                    yield json.loads(line)
        if rest.strip():
            yield json.loads(rest)

    def _upgrade(self, path_and_query: str) -> socket.socket:
        """A raw two-way connection. Made by hand: nothing may read ahead of the reply's headers."""
        client = self._client()
        target = f"/v{client.api_version}{path_and_query}"
        try:
            connection = self._connect()
        except OSError as exc:
            raise self._unavailable(exc) from exc
        try:
            connection.settimeout(self._timeout)
            connection.sendall(
                f"POST {target} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
                "Content-Length: 0\r\n\r\n".encode()
            )
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                byte = connection.recv(1)
                if not byte:
                    break
                head += byte
            status = int([*head.split(b" ", 2), b"0", b"0"][1] or 0)
            if status not in {101, 200}:
                raise _refusal(status, _message(connection.recv(65536)), ContainerMissing)
            connection.settimeout(None)
        except OSError as exc:
            connection.close()
            raise self._unavailable(exc) from exc
        except EngineError:
            connection.close()
            raise
        return connection

    def _connect(self) -> socket.socket:
        parts = urlsplit(self._base_url)
        if parts.scheme in {"unix", "http+unix"}:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.settimeout(self._timeout)
                connection.connect(parts.path or f"/{parts.netloc}")
            except OSError:
                connection.close()
                raise
            return connection
        return socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 2375), self._timeout)


class _Attachment:
    """Reads never take more from the socket than they return, so `fileno` can be polled."""

    def __init__(self, engine: DockerEngine, container_id: str, connection: socket.socket, *, tty: bool) -> None:
        self._engine = engine
        self._container_id = container_id
        self._connection = connection
        self._tty = tty
        self._stream = "stdout"
        self._left = 0  # of the frame being read

    def fileno(self) -> int:
        return self._connection.fileno()

    def send(self, data: bytes) -> None:
        try:
            self._connection.sendall(data)
        except OSError as exc:
            raise EngineError(f"The attached container took no input: {exc}.", id="detached") from exc

    def receive(self, size: int = 65536) -> tuple[str, bytes]:
        try:
            if self._tty:
                return "stdout", self._connection.recv(size)
            while self._left == 0:
                head = self._exactly(8)
                if not head:
                    return "stdout", b""
                stream, self._left = struct.unpack(">BxxxL", head)
                self._stream = _STREAMS.get(stream, "stderr")
            data = self._connection.recv(min(size, self._left))
        except ConnectionError:
            return "stdout", b""
        self._left -= len(data)
        return self._stream, data

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._connection.recv(size - len(data))
            if not more:
                return b""
            data += more
        return data

    def close_stdin(self) -> None:
        try:
            self._connection.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the container ended and took the connection with it

    def resize(self, rows: int, columns: int) -> None:
        self._engine.resize(self._container_id, rows, columns)


# -------------------------------------------------------------------- what we say to the engine


def _config(spec: ContainerSpec) -> dict[str, object]:
    limits = spec.limits
    host: dict[str, object] = {
        "Init": True,
        "NetworkMode": spec.network or "none",
        "SecurityOpt": ["no-new-privileges"],
        "CpuShares": limits.cpu_shares,
        "ReadonlyRootfs": spec.read_only_root,
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        "Mounts": [_mount(mount) for mount in spec.mounts],
        "RestartPolicy": {"Name": "no"},
    }
    if spec.drop_capabilities:
        host["CapDrop"] = ["ALL"]
    if spec.read_only_root:
        host["Tmpfs"] = {"/tmp": "rw,nosuid,nodev"}  # noqa: S108 - the container's, not ours
    if limits.memory_bytes:
        host["Memory"] = limits.memory_bytes
        host["MemorySwap"] = limits.memory_bytes  # the sum of both: no swap
    if limits.cpus:
        host["NanoCpus"] = int(limits.cpus * 1_000_000_000)
    if limits.pids:
        host["PidsLimit"] = limits.pids
    if spec.oci_runtime:
        host["Runtime"] = spec.oci_runtime
    if spec.cgroup_parent:
        host["CgroupParent"] = spec.cgroup_parent
    config: dict[str, object] = {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in spec.environment.items()],
        "Labels": dict(spec.labels),
        "User": spec.user,
        "WorkingDir": spec.working_dir,
        "Hostname": spec.hostname,
        "Tty": spec.tty,
        "OpenStdin": spec.open_stdin,
        "StdinOnce": spec.open_stdin,
        "AttachStdin": spec.open_stdin,
        "AttachStdout": True,
        "AttachStderr": True,
        "StopTimeout": spec.stop_grace_seconds,
        "HostConfig": host,
    }
    if spec.command:
        config["Cmd"] = list(spec.command)
    if spec.entrypoint is not None:
        config["Entrypoint"] = list(spec.entrypoint)
    if spec.network:
        endpoint: dict[str, object] = {"Aliases": list(spec.aliases)}
        if spec.address:
            endpoint["IPAMConfig"] = {"IPv4Address": spec.address}
        config["NetworkingConfig"] = {"EndpointsConfig": {spec.network: endpoint}}
    return config


def _mount(mount: Mount) -> dict[str, object]:
    return {
        "Type": "volume" if mount.is_volume else "bind",
        "Source": mount.source,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
    }


def _label_filters(labels: Mapping[str, str] | Sequence[str]) -> list[str]:
    if isinstance(labels, Mapping):
        return [f"{name}={value}" for name, value in labels.items()]
    return list(labels)


# -------------------------------------------------------------------- what the engine says to us


def _listed(entry: Mapping[str, Any]) -> Container:
    status = str(entry.get("Status", ""))
    health = Health.NONE
    if "(healthy)" in status:
        health = Health.HEALTHY
    elif "(unhealthy)" in status:
        health = Health.UNHEALTHY
    elif "(health: starting)" in status:
        health = Health.STARTING
    return Container(
        id=str(entry["Id"]),
        name=_name(*(entry.get("Names") or [""])),
        image=str(entry.get("Image", "")),
        labels=entry.get("Labels") or {},
        state=_state(str(entry.get("State", ""))),
        address=_address(entry.get("NetworkSettings")),
        created_at=datetime.fromtimestamp(entry["Created"], UTC) if entry.get("Created") else None,
        health=health,
    )


def _inspected(details: Mapping[str, Any]) -> Container:
    state = details["State"]
    config = details["Config"]
    what = _state(str(state.get("Status", "")))
    ended = what not in {State.CREATED, State.RUNNING, State.PAUSED}
    health = str((state.get("Health") or {}).get("Status", "none"))
    return Container(
        id=str(details["Id"]),
        name=_name(str(details.get("Name", ""))),
        image=str(config.get("Image", "")),
        labels=config.get("Labels") or {},
        state=what,
        address=_address(details.get("NetworkSettings")),
        exit_code=int(state.get("ExitCode", 0)) if ended else None,
        oom_killed=bool(state.get("OOMKilled")),
        created_at=_time(details.get("Created")),
        started_at=_time(state.get("StartedAt")),
        finished_at=_time(state.get("FinishedAt")) if ended else None,
        health=Health(health) if health in set(Health) else Health.NONE,
        environment=dict(entry.split("=", 1) for entry in config.get("Env") or () if "=" in entry),
    )


def _state(word: str) -> State:
    match word:
        case "running" | "restarting":
            return State.RUNNING
        case "created" | "configured" | "initialized":
            return State.CREATED
        case "paused":
            return State.PAUSED
        case "dead" | "removing":
            return State.DEAD
        case _:
            return State.EXITED


def _name(*names: str) -> str:
    """A linked container has further names, with a second slash in them."""
    own = [name.removeprefix("/") for name in names if name.count("/") <= 1]
    return own[0] if own else ""


def _address(settings: Mapping[str, Any] | None) -> str:
    """The address it has, or, when it does not run, the fixed one that is kept for it."""
    for network in ((settings or {}).get("Networks") or {}).values():
        address = network.get("IPAddress") or (network.get("IPAMConfig") or {}).get("IPv4Address")
        if address:
            return str(address)
    return ""


def _time(text: object) -> datetime | None:
    if not isinstance(text, str) or not text or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(text)


def _event(message: Mapping[str, Any]) -> Event:
    actor = message.get("Actor") or {}
    labels = dict(actor.get("Attributes") or {})
    code = labels.get("exitCode", "")
    return Event(
        action=str(message.get("Action", "")).partition(":")[0],  # "health_status: healthy", "exec_start: sh"
        container_id=str(actor.get("ID", "")),
        labels=labels,
        at=datetime.fromtimestamp(message.get("timeNano", 0) / 1e9, UTC),
        exit_code=int(code) if code.isdigit() else None,
    )


def _network(entry: Mapping[str, Any]) -> Network:
    ranges = (entry.get("IPAM") or {}).get("Config") or [{}]
    return Network(
        id=str(entry["Id"]),
        name=str(entry["Name"]),
        subnet=str(ranges[0].get("Subnet", "")),
        labels=entry.get("Labels") or {},
    )


def _listeners(tables: Path) -> Sequence[Listener]:
    """From the kernel's own tables of the container's network namespace; addresses are hexadecimal, in host order."""
    found: set[tuple[str, int]] = set()
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        try:
            rows = (tables / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] != _LISTEN:
                continue
            address, port = fields[1].split(":")
            words = struct.unpack(f"={len(address) // 8}I", bytes.fromhex(address))
            text = socket.inet_ntop(family, struct.pack(f">{len(words)}I", *words))
            if text != _ENGINES_RESOLVER:
                found.add((text, int(port, 16)))
    return [Listener(address, port) for address, port in sorted(found)]


# -------------------------------------------------------------------- log streams


def _multiplexed_lines(chunks: Iterator[bytes]) -> Iterator[LogLine]:
    """Each frame is one log entry behind its time stamp; an entry without a line's end is continued in the next one."""
    pending: dict[str, LogLine] = {}
    buffer = b""
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= 8:
            stream, size = struct.unpack(">BxxxL", buffer[:8])
            if len(buffer) < 8 + size:
                break
            payload, buffer = buffer[8 : 8 + size], buffer[8 + size :]
            if stream == _ENGINE_SPEAKS:
                raise EngineError(
                    f"The container engine cannot read the log: {payload.decode(errors='replace').strip()}."
                )
            yield from _entry(_STREAMS.get(stream, "stderr"), payload, pending)
    yield from pending.values()


def _entry(stream: str, payload: bytes, pending: dict[str, LogLine]) -> Iterator[LogLine]:
    at, text = _stamped(payload)
    before = pending.pop(stream, None)
    if before is not None:
        at, text = before.at, before.text + text
    line = LogLine(stream, text.rstrip("\r\n"), at)
    if text.endswith("\n") or len(text) >= _LONGEST_LINE:
        yield line
    else:
        pending[stream] = line


def _tty_lines(chunks: Iterator[bytes]) -> Iterator[LogLine]:
    buffer = b""
    for chunk in chunks:
        *lines, buffer = (buffer + chunk).split(b"\n")
        for line in lines:
            at, text = _stamped(line)
            yield LogLine("stdout", text.rstrip("\r"), at)
    if buffer:
        at, text = _stamped(buffer)
        yield LogLine("stdout", text, at)


def _stamped(payload: bytes) -> tuple[datetime | None, str]:
    stamp, _, rest = payload.partition(b" ")
    try:
        return datetime.fromisoformat(stamp.decode("ascii")), rest.decode(errors="replace")
    except ValueError:
        return None, payload.decode(errors="replace")


# -------------------------------------------------------------------- what went wrong


def _read_all(response: requests.Response) -> bytes:
    return b"".join(response.raw.stream(65536, decode_content=True))


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip()


def _refusal(status: int, message: str, missing: type[EngineError]) -> EngineError:
    said = message.strip().rstrip(".")
    lower = said.lower()
    if "no such image" in lower:
        return ImageMissing(f"The engine has no such image: {said}.")
    if status == 404 and missing is ContainerMissing and "no such container" not in lower and "network" in lower:
        return EngineError(f"The engine misses a network: {said}.", id="network_missing")  # told when starting
    if status == 404:
        return missing(f"The engine knows nothing of it: {said}.")
    if status == 409:
        return EngineError(f"The engine refused: {said}.", id="conflict")
    if "active endpoints" in lower or "volume is in use" in lower:
        return EngineError(f"The engine refused: {said}.", id="in_use")
    return EngineError(f"The engine refused: {said or status}.")


class _Missing(EngineError):
    """A network or a volume; never leaves this file."""


def _pull_error(reference: str, message: str) -> EngineError:
    lower = message.lower()
    if "not found" in lower or "manifest unknown" in lower or "no such image" in lower:
        return ImageMissing(f"The registry has no {reference}: {message}.")
    return EngineError(f"The engine could not pull {reference}: {message}.", id="pull_failed")


def _is_timeout(exc: BaseException | None) -> bool:
    while exc is not None:
        if isinstance(exc, (TimeoutError, requests.Timeout, urllib3.exceptions.ReadTimeoutError)):
            return True
        inner = exc.args[0] if exc.args and isinstance(exc.args[0], BaseException) else None
        exc = inner or exc.__cause__ or exc.__context__
    return False


def _root_cause(exc: BaseException) -> str:
    while True:
        inner = next((arg for arg in (*exc.args, getattr(exc, "reason", None)) if isinstance(arg, BaseException)), None)
        inner = inner or (exc.__cause__ if isinstance(exc, DockerException) else None)
        if inner is None:
            return (exc.strerror if isinstance(exc, OSError) else "") or str(exc).rstrip(".") or type(exc).__name__
        exc = inner
