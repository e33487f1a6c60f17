"""nginx as the router: one configuration that never changes, and a table in its memory (`lua/router.lua`).

Under the home: `nginx.conf` and `lua/`, written by `install`; `apps/APP.json` and `certs/NAME/`, the truth, read by nginx
when it starts; `run/admin.sock`, through which single entries change while it runs; `logs/access.json`, `logs/error.log`.
TCP and UDP ports have processes of their own: see `ports.py`.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import logging
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from runtime.errors import InvalidInput, NotFound, RouterError, RouterUnavailable
from runtime.router import ca, document, launch, ports
from runtime.router.admin import AdminConnection, admin_socket, read_traffic
from runtime.router.api import AppTraffic, Binding, InFlight, PortProtocol, PublicPort, Route

log = logging.getLogger(__name__)

LUA = Path(__file__).with_name("lua")
JS = Path(__file__).with_name("js")
MODULE_FOLDERS = (Path("/usr/lib/nginx/modules"), Path("/usr/share/nginx/modules"), Path("/usr/lib64/nginx/modules"))
MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")
STREAM_MODULES = ("ngx_stream_module.so", "ngx_stream_js_module.so")
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
DOORS = ("dashboard", "api", "git", "registry")  # names below the domain that are the platform's
MAX_RANGE = 2000  # ports of a range: each is a socket
LOG_FILE = r'^ *(?:access|error)_log "([^"]+)"'
SOCKET_BYTES = 107  # the longest path of a unix socket
# Everything else would need quoting that nginx and Lua disagree about.
PLAIN_PATH = re.compile(r"/[^\x00-\x20\x7f\"'\\$;{}?#*]+")


@dataclass(frozen=True, slots=True)
class NginxSettings:
    """What the configuration is made of. `domain` is the platform's: apps live below it."""

    domain: str
    web_socket: Path  # serves dashboard.DOMAIN and api.DOMAIN, and tokens for the registry
    git_socket: Path  # serves git.DOMAIN
    registry_socket: Path | None = None  # serves registry.DOMAIN; None: the web socket says that there is none here
    registry_port: int = 0  # for the container engine: the registry on loopback without TLS; 0 = none
    door_domains: Sequence[str] = ()  # further domains below which are all `DOORS`, but no apps
    streams_socket: Path | None = None  # serves /streams/ of dashboard and api; None: the web socket does
    http_address: str = "0.0.0.0"  # noqa: S104  # the router is for visitors; "::" is IPv6 and IPv4
    http_ports: Sequence[int] = (80,)
    https_port: int = 0  # 0 = none
    api_port: int = 0  # HTTPS for `localhost`: the API, git and the registry under one name; 0 = none
    loopback: Sequence[str] = ("127.0.0.1",)  # where these two ports are
    port_range: tuple[int, int] | None = None  # public TCP ports that are open at all times; None: no ports at all
    worker_processes: int = 2
    worker_user: str = "www-data"  # when started by root; root if it could not reach the sockets
    max_body_bytes: int = 1024**3  # for requests to apps and the dashboard; git has no limit here
    log_dir: Path | None = None  # None: logs/ under the home


def install(home: Path, settings: NginxSettings) -> None:
    """Write everything that nginx needs, except routes and certificates. Idempotent; takes effect when nginx starts.

    Raises `InvalidInput` for settings that can't work and `RouterError` when nginx lacks something.
    """
    home = home.absolute()
    log_dir = (settings.log_dir or home / "logs").absolute()
    _check(home, log_dir, settings)
    for folder, mode in ((home, 0o711), (home / "lua", 0o755), (home / "tmp", 0o711), (log_dir, 0o750)):
        folder.mkdir(parents=True, exist_ok=True)
        if folder != log_dir or settings.log_dir is None:
            folder.chmod(mode)
    for name in ("js", "ports"):
        (home / name).mkdir(exist_ok=True)
        (home / name).chmod(0o755)
    for name in ("run", "apps", "certs"):  # the admin socket and the keys are for the owner alone
        (home / name).mkdir(exist_ok=True)
        (home / name).chmod(0o700)
    for source in LUA.iterdir():
        _write_if_changed(home / "lua" / source.name, source.read_bytes())
    facts = {
        "reserved": [*(name for door in DOORS for name in _names(settings, door)), *settings.door_domains],
        "https_port": settings.https_port or None,
        "max_body_bytes": settings.max_body_bytes,
    }
    facts = {name: value for name, value in facts.items() if value is not None}
    _write_if_changed(home / "router.json", json.dumps(facts, indent=2).encode() + b"\n")
    placeholder = home / "certs" / "_"
    if (settings.https_port or settings.api_port) and not (placeholder / "fullchain.pem").exists():
        key, certificate = ca.self_signed([f"*.{settings.domain}", settings.domain])
        _write_pair(placeholder, key, certificate)
    user = _worker_user(home, settings)
    if settings.log_dir is None and user is not None:
        os.chown(log_dir, -1, user.pw_gid)  # the workers open new files there after a rotation; nobody else looks in
    _write_if_changed(home / "nginx.conf", _configuration(home, log_dir, user, settings).encode())
    _install_ports(home, log_dir, user, settings)


def write_certificate(home: Path, name: str, *, key_pem: bytes, chain_pem: bytes) -> None:
    """As `NginxRouter.put_certificate`, for a router that does not run; it is read when nginx starts."""
    _write_pair(_certificate_folder(home, name), key_pem, chain_pem)


def _install_ports(home: Path, log_dir: Path, user: pwd.struct_passwd | None, settings: NginxSettings) -> None:
    if settings.port_range is None:
        for name in ("ports.json", "tcp.conf"):
            (home / name).unlink(missing_ok=True)
        return
    for source in JS.iterdir():
        _write_if_changed(home / "js" / source.name, source.read_bytes())
    modules = _module_folder(STREAM_MODULES, package="libnginx-mod-stream-js")
    text = ports.configuration(
        home=home,
        log=log_dir / "tcp.log",
        modules="\n".join(f'load_module "{modules / name}";' for name in STREAM_MODULES),
        user=f"user {user.pw_name};" if user else "",
    )
    _write_if_changed(home / "tcp.conf", text.encode())
    facts = {"address": settings.http_address, "range": list(settings.port_range), "log": str(log_dir / "tcp.log")}
    _write_if_changed(home / "ports.json", json.dumps(facts).encode() + b"\n")


def command(home: Path) -> list[str]:
    """Runs nginx in the foreground, after clearing away what an earlier start that was killed has left behind."""
    return [sys.executable, str(Path(launch.__file__).absolute()), str(home.absolute())]


class NginxRouter:
    """The `Router` of the nginx that runs in `home`. Safe in threads, and after a fork; changes by several processes
    are taken one after the other."""

    def __init__(self, home: Path, *, timeout_seconds: float = 5.0) -> None:
        self._home = home.absolute()
        self._timeout = timeout_seconds
        self._ports = ports.PortTable(self._home, timeout_seconds=timeout_seconds)
        self._guard = threading.Lock()
        self._connection: AdminConnection | None = None
        self._pid = 0

    # Routes

    def put(self, route: Route) -> None:
        content = document.dump(route)
        with self._changing("apps"), _undone_on_failure(self._file(route.app)) as file:
            ca.write_file(file, content, mode=0o600)
            self._call("PUT", f"/apps/{route.app}", content)

    def remove(self, app: str) -> None:
        if not document.SLUG.fullmatch(app):
            return
        with self._changing("apps"), _undone_on_failure(self._file(app)) as file:
            file.unlink(missing_ok=True)
            self._call("DELETE", f"/apps/{app}")

    def get(self, app: str) -> Route | None:
        if not document.SLUG.fullmatch(app):
            return None
        try:
            return document.load(self._call("GET", f"/apps/{app}"))
        except NotFound:
            return None

    def table(self) -> Mapping[str, Route]:
        return {app: document.load(entry) for app, entry in self._call("GET", "/apps").items()}

    # Ports

    def bind(self, binding: Binding) -> None:
        document.check_binding(binding)
        with self._changing("ports"), _undone_on_failure(self._ports.file(*binding.key)):
            self._ports.write(binding)

    def unbind(self, protocol: PortProtocol, port: int) -> None:
        if self._ports.file(protocol, port).exists():
            with self._changing("ports"), _undone_on_failure(self._ports.file(protocol, port)):
                self._ports.delete(protocol, port)

    def bindings(self) -> Mapping[PublicPort, Binding]:
        return self._ports.all()

    def binding_drained(self, protocol: PortProtocol, address: str, *, timeout_seconds: float) -> bool:
        return self._ports.drained(protocol, address, timeout_seconds=timeout_seconds)

    def listener(self, protocol: PortProtocol, port: int) -> str:
        return self._ports.listener(protocol, port)

    # What goes on

    def in_flight(self, app: str, address: str) -> InFlight:
        if not document.SLUG.fullmatch(app):
            return InFlight(0, 0)
        counts = self._call("GET", f"/apps/{app}/flight?to={quote(address, safe='')}")
        return InFlight(int(counts["requests"]), int(counts["websockets"]))

    def drained(self, app: str, address: str, *, timeout_seconds: float) -> bool:
        deadline = time.monotonic() + timeout_seconds
        pause = 0.002
        while self.in_flight(app, address).requests:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.1)
        return True

    def traffic(self) -> Mapping[str, AppTraffic]:
        return read_traffic(self._call("GET", "/traffic"))

    def healthy(self) -> bool:
        try:
            return bool(self.status()["workers"]) and self._ports.healthy()
        except RouterError:
            return False

    def status(self) -> Mapping[str, Any]:
        """For the health page: `apps` (a number), `workers` (pids), `memory` (bytes free and in all), `nginx`."""
        answer: dict[str, Any] = self._call("GET", "/status")
        return answer

    # Certificates

    def put_certificate(self, name: str, *, key_pem: bytes, chain_pem: bytes) -> None:
        if not document.is_host(name):
            raise RouterError(f"{name[:100]!r} is no host name.", id="bad_certificate")
        try:
            ca.check_pair(key_pem, chain_pem)
        except InvalidInput as exc:
            raise RouterError(exc.message, id="bad_certificate") from exc
        folder = _certificate_folder(self._home, name)
        body = json.dumps({"key": key_pem.decode(), "chain": chain_pem.decode()}).encode()
        with (
            self._changing("certs"),
            _undone_on_failure(folder / "key.pem"),
            _undone_on_failure(folder / "fullchain.pem"),
        ):
            _write_pair(folder, key_pem, chain_pem)
            self._call("PUT", f"/certs/{name}", body)

    def remove_certificate(self, name: str) -> None:
        if not document.is_host(name):
            return
        with self._changing("certs"):
            shutil.rmtree(_certificate_folder(self._home, name), ignore_errors=True)
            self._call("DELETE", f"/certs/{name}")

    def certificate(self, name: str) -> tuple[bytes, bytes] | None:
        if not document.is_host(name):
            return None
        folder = _certificate_folder(self._home, name)
        try:
            return (folder / "key.pem").read_bytes(), (folder / "fullchain.pem").read_bytes()
        except FileNotFoundError:
            return None

    def rotate_logs(self, *, max_bytes: int = 64 * 1024 * 1024) -> bool:
        """Where a log has grown beyond this, it becomes `.1`, and nginx starts a new one. True if one had."""
        grown = self._rotate("nginx.conf", launch.master, max_bytes)
        return self._rotate("tcp.conf", launch.tcp_master, max_bytes) or grown

    def _rotate(self, configuration: str, master: Callable[[Path], int], max_bytes: int) -> bool:
        conf = self._home / configuration
        grown = False
        for found in re.findall(LOG_FILE, conf.read_text() if conf.exists() else "", re.MULTILINE):
            file = Path(found)
            if file.exists() and file.stat().st_size > max_bytes:
                file.replace(file.with_name(f"{file.name}.1"))
                grown = True
        pid = master(self._home) if grown else 0
        if pid:
            os.kill(pid, signal.SIGUSR1)
        return grown

    def close(self) -> None:
        with self._guard:
            if self._connection:
                self._connection.close()
            self._connection = None

    def _file(self, app: str) -> Path:
        return self._home / "apps" / f"{app}.json"

    @contextmanager
    def _changing(self, folder: str) -> Iterator[None]:
        """File and memory change together, one writer at a time."""
        try:
            lock = os.open(self._home / folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError as exc:
            raise RouterUnavailable(f"The router is not installed in {self._home}.", hint="Run bin/up.") from exc
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _call(self, method: str, path: str, content: bytes | None = None) -> Any:
        status, body = self._send(method, path, content)
        if status == 200:
            return json.loads(body)
        if method == "GET" and status == 404:
            raise NotFound(f"The router has no {path}.")
        try:
            answer = json.loads(body)
            raise RouterError(str(answer["message"]), id=str(answer["id"]))
        except (ValueError, KeyError, TypeError) as exc:
            raise RouterError(f"The router answered {status} to {method} {path}.") from exc

    def _send(self, method: str, path: str, content: bytes | None) -> tuple[int, bytes]:
        with self._guard:
            try:
                if self._connection is not None and self._pid == os.getpid():
                    try:
                        return self._connection.exchange(method, path, content)
                    except (ConnectionError, http.client.HTTPException):
                        # The router was started anew since the last call. Every call may be repeated.
                        self._connection.close()
                self._connection = AdminConnection(admin_socket(self._home), self._timeout)
                self._pid = os.getpid()
                return self._connection.exchange(method, path, content)
            except (OSError, http.client.HTTPException) as exc:
                if self._connection:
                    self._connection.close()
                self._connection = None
                raise RouterUnavailable(
                    f"The router does not answer on its admin socket: {exc}", hint="Is it running?"
                ) from exc


@contextmanager
def _undone_on_failure(file: Path) -> Iterator[Path]:
    """What the router refuses must not come back when it starts again."""
    try:
        before: tuple[bytes, int] | None = (file.read_bytes(), file.stat().st_mode & 0o777)
    except FileNotFoundError:
        before = None
    try:
        yield file
    except BaseException:
        if before is None:
            file.unlink(missing_ok=True)
        else:
            ca.write_file(file, before[0], mode=before[1])
        raise


def _certificate_folder(home: Path, name: str) -> Path:
    return home / "certs" / (f"_{name.removeprefix('*')}" if name.startswith("*.") else name)


def _write_pair(folder: Path, key: bytes, chain: bytes) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ca.write_file(folder / "key.pem", key, mode=0o600)
    ca.write_file(folder / "fullchain.pem", chain, mode=0o644)


def _write_if_changed(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        ca.write_file(path, content, mode=0o644)


# The configuration


def _check(home: Path, log_dir: Path, settings: NginxSettings) -> None:
    sockets = [settings.web_socket, settings.git_socket, home / "run" / "admin.sock"]
    sockets += [each for each in (settings.streams_socket, settings.registry_socket) if each]
    for path in (home, log_dir, *sockets):
        if not PLAIN_PATH.fullmatch(str(path)):
            raise InvalidInput(
                f"The router can't live with the path {str(path)!r}.",
                hint="Choose a folder without spaces, quotes and the characters $ ; { } ? # *.",
                id="bad_router_settings",
            )
    for path in sockets:
        if len(os.fsencode(path)) > SOCKET_BYTES:
            raise InvalidInput(
                f"{path} is too long for a socket.", hint="Choose a shorter path.", id="bad_router_settings"
            )
    for domain in (settings.domain, *settings.door_domains):
        if not document.is_host(domain) or domain.startswith("*"):
            raise InvalidInput(f"{domain!r} is not a domain.", id="bad_router_settings")
    for address in (settings.http_address, *settings.loopback):
        if not re.fullmatch(r"[0-9.]+|[0-9a-fA-F:.]+", address):
            raise InvalidInput(f"{address!r} is not an IP address.", id="bad_router_settings")
    others = (settings.https_port, settings.api_port, settings.registry_port)
    http = [*settings.http_ports, *(port for port in others if port)]
    if not settings.http_ports or len(set(http)) != len(http) or not all(1 <= port <= 65535 for port in http):
        raise InvalidInput(f"The router can't listen on the ports {http}.", id="bad_router_settings")
    low, high = settings.port_range or (65535, 65535)
    if not 1 <= low <= high <= 65535 or high - low >= MAX_RANGE or any(low <= port <= high for port in http):
        raise InvalidInput(f"{low}-{high} can't be the range of public ports.", id="bad_router_settings")


def _nginx_version(binary: str) -> tuple[int, ...]:
    said = subprocess.run([binary, "-v"], capture_output=True, text=True, check=False)
    found = re.search(r"nginx/([0-9]+(?:\.[0-9]+)*)", said.stderr + said.stdout)
    if not found:
        raise RouterError(f"{binary} does not tell its version.", id="nginx_missing")
    return tuple(int(part) for part in found[1].split("."))


def _module_folder(modules: Sequence[str], *, package: str) -> Path:
    for folder in MODULE_FOLDERS:
        if all((folder / name).exists() for name in modules):
            return folder
    raise RouterError(
        f"nginx has no {modules[-1]} here.", hint=f"Install it: apt-get install {package}", id="nginx_missing"
    )


def _worker_user(home: Path, settings: NginxSettings) -> pwd.struct_passwd | None:
    """Who the workers are when root starts them, unless that would cut them off: then root. None: whoever starts them."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(settings.worker_user)
    except KeyError:
        log.warning("router_workers_stay_root", extra={"reason": f"there is no user {settings.worker_user}"})
        return pwd.getpwuid(0)
    folders = {home / "tmp", settings.web_socket.parent, settings.git_socket.parent}
    folders |= {each.parent for each in (settings.streams_socket, settings.registry_socket) if each}
    for folder in folders:
        for each in (folder, *folder.parents):
            if each.exists() and not _may_enter(each, entry):
                log.warning("router_workers_stay_root", extra={"reason": f"{entry.pw_name} may not enter {each}"})
                return pwd.getpwuid(0)
    return entry


def _may_enter(folder: Path, entry: pwd.struct_passwd) -> bool:
    facts = folder.stat()
    if facts.st_uid == entry.pw_uid:
        return bool(facts.st_mode & 0o100)
    if facts.st_gid in os.getgrouplist(entry.pw_name, entry.pw_gid):
        return bool(facts.st_mode & 0o010)
    return bool(facts.st_mode & 0o001)


def _names(settings: NginxSettings, door: str) -> list[str]:
    """Of one of the `DOORS`."""
    return [f"{door}.{domain}" for domain in dict.fromkeys((settings.domain, *settings.door_domains))]


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _listens(settings: NginxSettings, *, http2: str, default: bool) -> str:
    address = _bracketed(settings.http_address)
    # Socket options are said once for each address, with the default server.
    options = " default_server backlog=4096" if default else ""
    if default and settings.http_address == "::":
        options += " ipv6only=off"
    lines = [f"    listen {address}:{port}{options};" for port in settings.http_ports]
    if settings.https_port:
        lines.append(f"    listen {address}:{settings.https_port} ssl{http2}{options};")
    return "\n".join(lines)


def _configuration(home: Path, log_dir: Path, user: pwd.struct_passwd | None, settings: NginxSettings) -> str:
    binary = launch.nginx_binary()
    if not binary:
        raise RouterError("nginx is not installed.", hint="Install it: apt-get install nginx", id="nginx_missing")
    modules = _module_folder(MODULES, package="libnginx-mod-http-lua")
    # 1.25.1 made HTTP/2 a directive of its own and warns about the old way.
    separate_http2 = _nginx_version(binary) >= (1, 25, 1)
    http2 = "" if separate_http2 else " http2"
    tls = ""
    if settings.https_port or settings.api_port:
        tls = TLS.format(home=home) + ("  http2 on;\n" if separate_http2 else "")
    listen = _listens(settings, http2=http2, default=False)
    return CONFIGURATION.format(
        home=home,
        logs=log_dir,
        load_modules="\n".join(f'load_module "{modules / name}";' for name in MODULES),
        user=f"user {user.pw_name};" if user else "",
        workers=settings.worker_processes,
        temporary="\n".join(f'  {name}_temp_path "{home / "tmp" / name}";' for name in TEMPORARY),
        max_body=settings.max_body_bytes,
        tls=tls,
        listen=listen,
        listen_default=_listens(settings, http2=http2, default=True),
        registry=REGISTRY.format(socket=settings.registry_socket) if settings.registry_socket else NO_REGISTRY,
        web_doors="".join(
            WEB_DOOR.format(listen=listen, door=door, names=_quoted(_names(settings, door)), to_streams=TO_STREAMS)
            for door in ("dashboard", "api")
        ),
        git_names=_quoted(_names(settings, "git")),
        to_git=TO_GIT,
        registry_door=REGISTRY_DOOR.format(
            listen=listen, names=_quoted(_names(settings, "registry")), to_registry=TO_REGISTRY
        ),
        loopback=_loopback(settings, http2),
        web=settings.web_socket.absolute(),
        git=settings.git_socket.absolute(),
        streams=(settings.streams_socket or settings.web_socket).absolute(),
    )


def _quoted(names: Sequence[str]) -> str:
    return " ".join(f'"{name}"' for name in names)


def _loopback(settings: NginxSettings, http2: str) -> str:
    """The servers that only this machine reaches."""
    own = ["localhost", *map(_bracketed, settings.loopback)]
    places = {"to_streams": TO_STREAMS, "to_git": TO_GIT, "to_registry": TO_REGISTRY}
    parts = []
    for template, port, protocol, names in (
        (ONE_NAME, settings.api_port, f" ssl{http2}", [*own, *_names(settings, "api")]),
        (REGISTRY_DOOR, settings.registry_port, "", own),
    ):
        if port:
            listens = [f"    listen {_bracketed(address)}:{port}{protocol}" for address in settings.loopback]
            parts.append(STRANGER.format(listen="\n".join(f"{line} default_server;" for line in listens)))
            parts.append(
                template.format(listen="\n".join(f"{line};" for line in listens), names=_quoted(names), **places)
            )
    return "".join(parts)


TLS = """
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_cache shared:paas_tls:4m;
  ssl_session_tickets off;
  # A placeholder that nobody trusts; the true one is looked up by the name the visitor asks for.
  ssl_certificate "{home}/certs/_/fullchain.pem";
  ssl_certificate_key "{home}/certs/_/key.pem";
  ssl_certificate_by_lua_block {{ router.certificate() }}
"""

REGISTRY = """
  upstream paas_registry {{
    server "unix:{socket}";
    keepalive 8;
    keepalive_timeout 1s;
  }}
  # The registry takes our tokens. Who sends a password with every request is answered by us, in its place.
  map $http_authorization $paas_registry {{
    default paas_registry;
    "~*^basic " paas_web;
  }}
"""
NO_REGISTRY = """
  map $host $paas_registry {
    default paas_web;
  }
"""

# What stands in several servers: where a place leads, whichever name it has there. The door is known by `$paas_door`.
TO_STREAMS = """\
      set $paas_door "";
      proxy_pass http://paas_streams;
      proxy_buffering off;
      proxy_read_timeout 1h;
      proxy_send_timeout 1h;"""
TO_GIT = """\
      set $paas_door "";
      client_max_body_size 0;
      client_body_timeout 10m;
      send_timeout 10m;
      proxy_pass http://paas_git;
      proxy_request_buffering off;
      proxy_buffering off;
      proxy_read_timeout 1h;
      proxy_send_timeout 1h;"""
TO_REGISTRY = """\
      set $paas_door registry;
      client_max_body_size 0;
      client_body_timeout 10m;
      send_timeout 10m;
      proxy_pass http://$paas_registry;
      proxy_request_buffering off;
      proxy_buffer_size 128k;
      proxy_buffers 8 128k;
      proxy_busy_buffers_size 256k;
      proxy_max_temp_file_size 0;
      proxy_read_timeout 10m;
      proxy_send_timeout 10m;
      header_filter_by_lua_block { router.challenged() }"""

# A port of the platform's, under a name that is not: a page of a browser, say, whose name leads to loopback.
STRANGER = """
  server {{
{listen}
    server_name _;
    set $paas_app "";
    set $paas_door "";
    add_header X-Request-Id $paas_id always;
    location / {{
      content_by_lua_block {{ router.stranger() }}
    }}
  }}"""

# Everything that the stock Heroku CLI reaches, under the one name that it trusts by itself.
ONE_NAME = """
  server {{
{listen}
    server_name {names};
    set $paas_app "";
    set $paas_door api;
    add_header X-Request-Id $paas_id always;
    error_page 413 500 502 504 @failed;

    location / {{
      proxy_pass http://paas_web;
    }}
    location /streams/ {{
{to_streams}
    }}
    location ~ "^/[^/]+\\.git(/|$)" {{
{to_git}
    }}
    location /v2/ {{
{to_registry}
    }}
    location = /v2/token {{
      set $paas_door registry;
      proxy_pass http://paas_web;
    }}
    location @failed {{
      content_by_lua_block {{ router.platform_failed() }}
    }}
  }}"""

# What the web process answers, with the streams beside it.
WEB_DOOR = """
  server {{
{listen}
    server_name {names};
    set $paas_app "";
    set $paas_door {door};
    add_header X-Request-Id $paas_id always;
    error_page 413 500 502 504 @failed;

    location / {{
      proxy_pass http://paas_web;
    }}
    location /streams/ {{
{to_streams}
    }}
    location @failed {{
      content_by_lua_block {{ router.platform_failed() }}
    }}
  }}"""

# Under its own names, and, for engines, which take plain HTTP from loopback alone, on a port of theirs there.
REGISTRY_DOOR = """
  server {{
{listen}
    server_name {names};
    set $paas_app "";
    set $paas_door registry;
    add_header X-Request-Id $paas_id always;
    error_page 500 502 504 @failed;

    location / {{
      proxy_pass http://paas_web;
    }}
    location /v2/ {{
{to_registry}
    }}
    location = /v2/token {{
      proxy_pass http://paas_web;
    }}
    location @failed {{
      content_by_lua_block {{ router.platform_failed() }}
    }}
  }}"""

CONFIGURATION = """\
# Written when the platform is installed or started. Nothing of any app is in here, and changes are overwritten.
{load_modules}
{user}
worker_processes {workers};
worker_rlimit_nofile 16384;
worker_shutdown_timeout 60s;
pid "{home}/run/nginx.pid";
error_log "{logs}/error.log" error;
pcre_jit on;

events {{
  worker_connections 4096;
}}

http {{
  lua_package_path "{home}/lua/?.lua;;";
  lua_shared_dict paas_apps 16m;
  lua_shared_dict paas_hosts 8m;
  lua_shared_dict paas_certs 32m;
  lua_shared_dict paas_flight 8m;
  lua_shared_dict paas_stats 16m;
  lua_shared_dict paas_workers 1m;
  init_by_lua_block {{
    router = require "router"
    router.init("{home}")
  }}
  init_worker_by_lua_block {{ router.init_worker() }}

{temporary}
  default_type application/octet-stream;
  server_tokens off;
  absolute_redirect off;
  merge_slashes off;
  server_names_hash_bucket_size 512;
  variables_hash_max_size 2048;
  tcp_nodelay on;
  client_header_timeout 20s;
  client_body_timeout 60s;
  send_timeout 60s;
  keepalive_timeout 75s;
  keepalive_requests 10000;
  large_client_header_buffers 4 16k;
  client_body_buffer_size 64k;
  client_max_body_size {max_body};
{tls}
  log_format paas escape=json '{{"time":"$time_iso8601","at":$msec,"app":"$paas_app","id":"$paas_id",'
    '"client":"$remote_addr","scheme":"$scheme","method":"$request_method","host":"$host","path":"$request_uri","status":$status,'
    '"bytes_in":$request_length,"bytes_out":$bytes_sent,"seconds":$request_time,"upstream":"$upstream_addr",'
    '"upstream_seconds":"$upstream_response_time","agent":"$http_user_agent","referer":"$http_referer"}}';
  access_log "{logs}/access.json" paas buffer=64k flush=1s;

  # A visitor's request id is kept when it can't do harm in a log.
  map $http_x_request_id $paas_id {{
    default $request_id;
    "~^[A-Za-z0-9_=-]{{8,128}}$" $http_x_request_id;
  }}
  # Only WebSockets are upgraded: anything else that switches protocols would get past us.
  map $http_upgrade $paas_upgrade {{
    default "";
    "~*^websocket$" websocket;
  }}
  map $paas_upgrade $paas_connection {{
    default "";
    websocket upgrade;
  }}
  # The name as nginx understood it (a request line can name another one than the header), with the visitor's port.
  map $http_host $paas_port {{
    default "";
    "~(?<paas_visited_port>:[0-9]{{1,5}})$" $paas_visited_port;
  }}

  proxy_http_version 1.1;
  proxy_set_header Host $host$paas_port;
  proxy_set_header Connection $paas_connection;
  proxy_set_header Upgrade $paas_upgrade;
  proxy_set_header X-Request-Id $paas_id;
  proxy_set_header X-Request-Start "t=$msec";
  proxy_set_header X-Real-IP $remote_addr;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Host $host$paas_port;
  proxy_set_header X-Forwarded-Port $server_port;
  proxy_set_header Forwarded "";
  proxy_set_header Proxy "";
  # By which door it came in: for the platform alone, and nobody else's to say.
  proxy_set_header X-Paas-Door $paas_door;
  proxy_hide_header X-Request-Id;
  proxy_pass_header Server;
  # An app can't send visitors to places inside the router.
  proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Charset X-Accel-Limit-Rate;
  proxy_redirect off;
  proxy_buffer_size 16k;
  proxy_buffers 8 16k;
  proxy_next_upstream error timeout;

  # Shorter than the keep-alive of any app server (gunicorn's is 2 s): a POST on a connection that the app is just closing
  # can't be repeated.
  upstream paas_apps {{
    server 0.0.0.1:1;
    balancer_by_lua_block {{ router.balance() }}
    keepalive 128;
    keepalive_timeout 1s;
    keepalive_requests 100000;
  }}
  upstream paas_web {{
    server "unix:{web}";
    keepalive 8;
    keepalive_timeout 1s;
  }}
  upstream paas_streams {{
    server "unix:{streams}";
  }}
  upstream paas_git {{
    server "unix:{git}";
  }}
{registry}

  # Apps: every name that is not the platform's own.
  server {{
{listen_default}
    server_name _;
    set $paas_app "";
    set $paas_door "";
    set $paas_to "";
    set $paas_why "";
    add_header X-Request-Id $paas_id always;
    error_page 413 500 502 503 504 @failed;
    error_page 400 405 414 494 /.paas-refused;  # there may be no path yet, and a named location needs one
    log_by_lua_block {{ router.done() }}

    location / {{
      access_by_lua_block {{ router.access() }}
      header_filter_by_lua_block {{ router.answered() }}
      proxy_pass http://paas_apps;
    }}
    location @unbuffered {{
      header_filter_by_lua_block {{ router.answered() }}
      proxy_request_buffering off;
      proxy_pass http://paas_apps;
    }}
    location @failed {{
      content_by_lua_block {{ router.failed() }}
    }}
    location = /.paas-refused {{
      internal;
      content_by_lua_block {{ router.failed() }}
    }}
  }}

  # The platform: a server for each of its doors.{web_doors}
  server {{
{listen}
    server_name {git_names};
    set $paas_app "";
    set $paas_door "";
    add_header X-Request-Id $paas_id always;
    error_page 500 502 504 @failed;

    location / {{
{to_git}
    }}
    location @failed {{
      content_by_lua_block {{ router.platform_failed() }}
    }}
  }}{registry_door}
{loopback}
  server {{
    listen "unix:{home}/run/admin.sock";
    access_log off;
    client_max_body_size 1m;
    client_body_buffer_size 1m;
    location / {{
      content_by_lua_block {{ router.admin() }}
    }}
  }}
}}
"""
