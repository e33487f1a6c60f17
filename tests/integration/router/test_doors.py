"""The doors of the platform: which name and which place leads to which process, and what that process is told."""

from __future__ import annotations

import http.client
import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime.router.api import Route
from runtime.router.ca import covers, ensure_ca, issue
from tests.integration.router.conftest import RunningNginx, free_ports
from tests.integration.router.upstream import Upstream

DOMAIN = "apps.example.com"
ALSO = f"localhost.{DOMAIN}"
NAMES = (f"*.{DOMAIN}", f"*.{ALSO}", "localhost", "127.0.0.1")


class UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


class Part:
    """A process of the platform, or its registry: tells what it was asked, and who it is."""

    def __init__(self, name: str, at: Path) -> None:
        class Answering(Asked):
            part = name

        self._server = UnixServer(str(at), Answering)
        at.chmod(0o666)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Asked(BaseHTTPRequestHandler):
    part = ""
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        length = sum(len(piece) for piece in self.pieces())
        if self.part == "registry" and not self.headers.get("Authorization"):
            challenge = 'Bearer realm="http://nowhere/token",service="paas",scope="repository:shop/web:pull"'
            self.answer({"errors": []}, 401, {"WWW-Authenticate": challenge})
            return
        seen = [[name.lower(), value] for name, value in self.headers.items()]
        self.answer({"part": self.part, "method": self.command, "path": self.path, "headers": seen, "length": length})

    def do_POST(self) -> None:
        self.do_GET()

    def do_PATCH(self) -> None:
        self.do_GET()

    def pieces(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", 0))
        while left and (piece := self.rfile.read(min(left, 1 << 20))):
            left -= len(piece)
            yield piece

    def answer(self, document: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@dataclass
class Doors:
    nginx: RunningNginx
    api_port: int
    registry_port: int
    ca_file: Path

    def ask(self, host: str, path: str, method: str = "GET", *, port: int = 0, **fields: Any) -> httpx.Response:
        """Over HTTP; at the API's own port over HTTPS, with its certificate checked."""
        headers = {"Host": host, **fields.pop("headers", {})}
        if port != self.api_port:
            there = f"http://127.0.0.1:{port or self.nginx.port}{path}"
            return self.nginx.client.request(method, there, headers=headers, **fields)
        context = ssl.create_default_context(cafile=str(self.ca_file))
        with httpx.Client(trust_env=False, verify=context, timeout=30) as client:
            name = host.partition(":")[0]
            return client.request(
                method, f"https://127.0.0.1:{port}{path}", headers=headers, extensions={"sni_hostname": name}, **fields
            )


@pytest.fixture(scope="module")
def doors() -> Iterator[Doors]:
    registry, api = free_ports(2)
    nginx = RunningNginx(
        domain=DOMAIN, door_domains=(ALSO,), registry_port=registry, api_port=api, loopback=("127.0.0.1",)
    )
    parts: list[Part] = []
    try:
        parts += [Part("web", nginx.web_socket), Part("git", nginx.git_socket), Part("registry", nginx.registry_socket)]
        nginx.start()
        authority = ensure_ca(nginx.base / "ca")
        key, chain = issue(authority, NAMES)
        for name in (f"*.{DOMAIN}", f"*.{ALSO}", "localhost"):
            nginx.router.put_certificate(name, key_pem=key, chain_pem=chain)
        yield Doors(nginx, api, registry, authority.certificate)
    finally:
        for part in parts:
            part.close()
        nginx.remove()


@pytest.fixture(autouse=True)
def _empty_table(doors: Doors) -> Iterator[None]:
    yield
    for app in doors.nginx.router.table():
        doors.nginx.router.remove(app)


def door_of(answer: httpx.Response) -> tuple[str, list[str]]:
    """Which part answered, and by which door it thinks the request came."""
    seen = answer.json()
    return seen["part"], [value for name, value in seen["headers"] if name == "x-paas-door"]


BY_NAME = [
    ("dashboard", "/", "web", ["dashboard"]),
    ("dashboard", "/v2/", "web", ["dashboard"]),
    ("dashboard", "/shop.git/info/refs", "web", ["dashboard"]),
    ("api", "/apps", "web", ["api"]),
    ("api", "/v2/", "web", ["api"]),
    ("api", "/shop.git/info/refs", "web", ["api"]),
    ("git", "/shop.git/info/refs", "git", []),
    ("git", "/apps", "git", []),
    ("git", "/v2/", "git", []),
    ("registry", "/v2/shop/web/manifests/latest", "registry", ["registry"]),
    ("registry", "/v2/token?scope=x", "web", ["registry"]),
    ("registry", "/apps", "web", ["registry"]),
    ("registry", "/shop.git/info/refs", "web", ["registry"]),
]


@pytest.mark.parametrize("domain", [DOMAIN, ALSO])
@pytest.mark.parametrize(("name", "path", "part", "door"), BY_NAME)
def test_a_name_leads_to_its_door_and_to_no_other(
    doors: Doors, domain: str, name: str, path: str, part: str, door: list[str]
) -> None:
    answer = doors.ask(f"{name}.{domain}", path, headers={"Authorization": "Bearer x"})
    assert door_of(answer) == (part, door)
    assert answer.json()["path"] == path


BY_PLACE = [
    ("/apps", "web", ["api"]),
    ("/", "web", ["api"]),
    ("/shop.git", "git", []),
    ("/shop.git/git-receive-pack", "git", []),
    ("/apps/shop.git/info/refs", "web", ["api"]),
    ("/apps/shop.gitlab", "web", ["api"]),
    ("/v2/", "registry", ["registry"]),
    ("/v2/shop/web/blobs/uploads/", "registry", ["registry"]),
    ("/v2/token?service=paas", "web", ["registry"]),
    ("/streams/logs/1", "web", []),
]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", f"api.{DOMAIN}", f"api.{ALSO}"])
@pytest.mark.parametrize(("path", "part", "door"), BY_PLACE)
def test_on_the_ports_one_name_the_place_decides(doors: Doors, host: str, path: str, part: str, door: list[str]) -> None:
    answer = doors.ask(f"{host}:{doors.api_port}", path, port=doors.api_port, headers={"Authorization": "Bearer x"})
    assert door_of(answer) == (part, door)
    assert answer.json()["path"] == path


AT_THE_ENGINES_PORT = [
    ("/v2/", "registry"), ("/v2/apps/x/blobs/uploads/", "registry"), ("/v2/token", "web"), ("/apps", "web"),
    ("/shop.git/info/refs", "web"), ("/streams/x", "web"), ("/login", "web"),
]  # fmt: skip


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize(("path", "part"), AT_THE_ENGINES_PORT)
def test_the_engines_port_is_the_registrys_door_alone(doors: Doors, host: str, path: str, part: str) -> None:
    answer = doors.ask(host, path, port=doors.registry_port, headers={"Authorization": "Bearer x", "X-Paas-Door": "api"})
    assert door_of(answer) == (part, ["registry"])


@pytest.mark.parametrize("host", ["evil.example.org", f"registry.{DOMAIN}", f"dashboard.{DOMAIN}"])
def test_a_page_whose_name_leads_to_loopback_gets_nothing_from_the_registry(doors: Doors, host: str) -> None:
    assert doors.ask(host, "/v2/", port=doors.registry_port).status_code == 404


@pytest.mark.parametrize("spelling", ["X-Paas-Door", "x-paas-door", "X_Paas_Door", "X-PAAS-DOOR"])
@pytest.mark.parametrize(("name", "path", "part", "door"), BY_NAME)
def test_a_client_can_not_say_by_which_door_it_came(
    doors: Doors, spelling: str, name: str, path: str, part: str, door: list[str]
) -> None:
    headers = [(b"Host", f"{name}.{DOMAIN}".encode()), (b"Authorization", b"Bearer x")]
    headers += [(spelling.encode(), forged) for forged in (b"registry", b"api", b"dashboard")]
    answer = doors.nginx.client.request("GET", path, headers=headers)
    assert door_of(answer) == (part, door)
    assert not [pair for pair in answer.json()["headers"] if pair[0] == "x_paas_door"]


def test_an_app_hears_nothing_of_doors(doors: Doors) -> None:
    app = Upstream("A")
    try:
        doors.nginx.router.put(Route(app="shop", hosts=(f"shop.{DOMAIN}",), addresses=(app.address,)))
        answer = doors.ask(f"shop.{DOMAIN}", "/echo", headers={"X-Paas-Door": "api"})
        assert [pair for pair in answer.json()["headers"] if "door" in pair[0]] == []
    finally:
        app.close()


@pytest.mark.parametrize(
    "host", ["shop.example.com", f"dashboard.{DOMAIN}", f"git.{DOMAIN}", f"registry.{DOMAIN}", "evil"]
)
def test_the_apis_own_port_serves_no_other_name(doors: Doors, host: str) -> None:
    app = Upstream("A")
    try:
        doors.nginx.router.put(Route(app="shop", hosts=("shop.example.com",), addresses=(app.address,)))
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with httpx.Client(trust_env=False, verify=context) as client:
            answer = client.get(f"https://127.0.0.1:{doors.api_port}/", headers={"Host": host})
        assert answer.status_code == 404
        assert answer.headers["X-Request-Id"] in answer.text
    finally:
        app.close()


@pytest.mark.parametrize("name", ["dashboard", "api", "git", "registry", ""])
def test_no_app_gets_a_name_of_the_platform(doors: Doors, name: str) -> None:
    host = f"{name}.{ALSO}".removeprefix(".")
    with pytest.raises(Exception, match="belongs to the platform"):
        doors.nginx.router.put(Route(app="thief", hosts=(host,)))


def test_https_shows_the_platforms_certificate_to_who_asks_by_address(doors: Doors) -> None:
    context = ssl.create_default_context(cafile=str(doors.ca_file))
    with (
        socket.create_connection(("127.0.0.1", doors.api_port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,  # an address is not sent as a name
    ):
        chain = ssl.DER_cert_to_PEM_cert(secure.getpeercert(binary_form=True) or b"")
    assert covers(chain.encode(), "localhost")


def test_the_api_port_speaks_nothing_but_tls(doors: Doors) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", doors.api_port, timeout=20)
    connection.request("GET", "/apps", headers={"Authorization": "Bearer secret"})
    assert connection.getresponse().status == 400
    connection.close()


# The registry


@pytest.mark.parametrize(
    ("host", "at", "realm"),
    [
        (f"registry.{DOMAIN}", "", f"http://registry.{DOMAIN}/v2/token"),
        (f"registry.{DOMAIN}:8080", "", f"http://registry.{DOMAIN}:8080/v2/token"),
        (f"Registry.{ALSO}", "", f"http://registry.{ALSO}/v2/token"),
        ("localhost", "api_port", "https://localhost/v2/token"),
        ("localhost:5443", "api_port", "https://localhost:5443/v2/token"),
        ("127.0.0.1:5000", "registry_port", "http://127.0.0.1:5000/v2/token"),
    ],
)
def test_a_token_is_to_be_had_under_the_name_that_was_used(doors: Doors, host: str, at: str, realm: str) -> None:
    answer = doors.ask(host, "/v2/", port=getattr(doors, at) if at else 0)
    assert answer.status_code == 401
    expected = f'Bearer realm="{realm}",service="paas",scope="repository:shop/web:pull"'
    assert answer.headers.get_list("WWW-Authenticate") == [expected]


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_a_password_is_for_us_and_never_for_the_registry(doors: Doors, scheme: str) -> None:
    answer = doors.ask(
        f"registry.{DOMAIN}", "/v2/shop/web/manifests/latest", headers={"Authorization": f"{scheme} OnRva2Vu"}
    )
    assert door_of(answer) == ("web", ["registry"])


def test_layers_larger_than_any_limit_pass_as_they_come(doors: Doors) -> None:
    size = 24 * 1024 * 1024  # three times what apps and the API are allowed here

    def layer() -> Iterator[bytes]:
        for _ in range(24):
            yield b"x" * 1024 * 1024

    for host, port in ((f"registry.{DOMAIN}", 0), ("localhost", doors.api_port)):
        answer = doors.ask(
            host,
            "/v2/shop/web/blobs/uploads/1",
            "PATCH",
            port=port,
            headers={"Authorization": "Bearer x"},
            content=layer(),
        )
        assert (door_of(answer)[0], answer.json()["length"]) == ("registry", size)


def test_the_api_refuses_what_is_too_large_in_its_own_words(doors: Doors) -> None:
    answer = doors.ask(
        f"api.{DOMAIN}", "/apps", "POST",
        headers={"Accept": "application/vnd.heroku+json; version=3"}, content=b"x" * (8 * 1024 * 1024 + 1),
    )  # fmt: skip
    assert answer.status_code == 413
    assert answer.json()["id"] == "request_too_large"


def test_a_platform_with_a_registry_elsewhere_answers_itself() -> None:
    nginx = RunningNginx(domain=DOMAIN)
    web = Part("web", nginx.web_socket)
    try:
        nginx.start()
        assert door_of(nginx.get(f"registry.{DOMAIN}", "/v2/")) == ("web", ["registry"])
    finally:
        web.close()
        nginx.remove()
