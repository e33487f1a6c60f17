from __future__ import annotations

import socket
import subprocess
from typing import Any

import pytest

from runtime.errors import RouterError
from runtime.router import nginx as module
from runtime.router.api import Binding, PortProtocol
from runtime.router.launch import clear_ports, nginx_binary, tcp_master, write_listen
from runtime.router.nginx import NginxSettings, install
from tests.integration.router.conftest import RunningNginx


def settings_of(nginx: RunningNginx, **changes: object) -> NginxSettings:
    fields = {
        "domain": "localhost",
        "web_socket": nginx.web_socket,
        "git_socket": nginx.git_socket,
        "http_address": "127.0.0.1",
        "http_ports": (nginx.port,),
        "https_port": nginx.https_port,
        "port_range": nginx.range,
        "max_body_bytes": 8 * 1024 * 1024,
    }
    return NginxSettings(**{**fields, **changes})  # type: ignore[arg-type]


def has_address(address: str) -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def files(nginx: RunningNginx) -> dict[str, tuple[int, bytes]]:
    found = [each for each in nginx.home.rglob("*") if each.is_file() and "logs" not in each.parts]
    return {str(each): (each.stat().st_mtime_ns, each.read_bytes()) for each in found}


def test_installing_again_changes_nothing(nginx: RunningNginx) -> None:
    before = files(nginx)
    install(nginx.home, settings_of(nginx))
    assert files(nginx) == before


def test_only_the_owner_reads_keys_routes_and_the_admin_socket(nginx: RunningNginx) -> None:
    for name in ("run", "apps", "certs"):
        assert (nginx.home / name).stat().st_mode & 0o077 == 0
    assert (nginx.home / "certs" / "_" / "key.pem").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "changes",
    [
        {"https_port": 0},
        {"http_ports": (8001, 8002), "https_port": 8003},
        {"http_address": "::"},
        {"http_address": "::1"},
        {"http_address": "0.0.0.0"},
        {"domain": "apps.a-rather-long-name.example.com"},
        {"domain": "example.com", "door_domains": ("localhost.example.com",), "registry_port": 8005},
        {"https_port": 0, "api_port": 8004},
        {"api_port": 8004, "registry_port": 8005, "loopback": ("127.0.0.1", "::1")},
    ],
    ids=repr,
)
def test_nginx_accepts_every_shape_of_the_configuration(own_nginx: RunningNginx, changes: dict[str, Any]) -> None:
    if "::1" in {changes.get("http_address"), *changes.get("loopback", ())} and not has_address("::1"):
        pytest.skip("this machine has no IPv6 loopback")
    install(own_nginx.home, settings_of(own_nginx, **changes))
    clear_ports(own_nginx.home)
    write_listen(own_nginx.home)
    for conf in ("nginx.conf", "tcp.conf"):
        checked = subprocess.run(
            [nginx_binary(), "-t", "-p", str(own_nginx.home), "-c", str(own_nginx.home / conf)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stderr
        assert "[warn]" not in checked.stderr


@pytest.mark.parametrize(
    ("version", "listens", "directive"), [((1, 22, 1), " ssl http2 ", False), ((1, 26, 3), " ssl ", True)]
)
def test_http2_is_said_as_the_version_of_nginx_wants_it(
    own_nginx: RunningNginx, monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], listens: str, directive: bool
) -> None:
    monkeypatch.setattr(module, "_nginx_version", lambda binary: version)
    install(own_nginx.home, settings_of(own_nginx))
    conf = (own_nginx.home / "nginx.conf").read_text()
    assert f":{own_nginx.https_port}{listens}default_server" in conf
    assert ("http2 on;" in conf) == directive


def test_without_a_range_no_ports_are_served(own_nginx: RunningNginx) -> None:
    own_nginx.kill_master()
    install(own_nginx.home, settings_of(own_nginx, port_range=None))
    own_nginx.start()
    assert not tcp_master(own_nginx.home)
    with pytest.raises(RouterError) as refused:
        own_nginx.router.bind(Binding("shop", PortProtocol.TCP, own_nginx.range[0]))
    assert refused.value.id == "ports_off"
    assert own_nginx.router.bindings() == {}
