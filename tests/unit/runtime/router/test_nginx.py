"""What `install` refuses before it writes anything: a setting that would mean something else inside the configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runtime.errors import InvalidInput, RouterUnavailable
from runtime.router.api import Route
from runtime.router.nginx import NginxRouter, NginxSettings, command, install

RUN = Path("/srv/run")
GOOD = NginxSettings(domain="localhost", web_socket=RUN / "web.sock", git_socket=RUN / "git.sock")


@pytest.mark.parametrize(
    "settings",
    [
        replace(GOOD, domain='localhost"; return 200 "'),
        replace(GOOD, domain="*.example.com"),
        replace(GOOD, domain=""),
        replace(GOOD, web_socket=RUN / 'a";b'),
        replace(GOOD, git_socket=RUN / "a b.sock"),
        replace(GOOD, streams_socket=RUN / "$host.sock"),
        replace(GOOD, web_socket=RUN / ("x" * 100)),
        replace(GOOD, log_dir=Path("/srv/{logs}")),
        replace(GOOD, http_address="localhost; include /etc/passwd"),
        replace(GOOD, http_ports=()),
        replace(GOOD, http_ports=(0,)),
        replace(GOOD, http_ports=(80, 80)),
        replace(GOOD, http_ports=(80,), https_port=80),
        replace(GOOD, https_port=70_000),
        replace(GOOD, http_ports=(80,), https_port=443, api_port=443),
        replace(GOOD, api_port=5443, loopback=("localhost",)),
        replace(GOOD, door_domains=("localhost.example.com", 'x" y')),
        replace(GOOD, registry_socket=RUN / "a b.sock"),
        replace(GOOD, api_port=5443, registry_port=5443),
        replace(GOOD, port_range=(0, 10)),
        replace(GOOD, port_range=(20_000, 19_000)),
        replace(GOOD, port_range=(20_000, 23_000)),
        replace(GOOD, port_range=(65_000, 65_536)),
        replace(GOOD, http_ports=(8080,), port_range=(8000, 8100)),
    ],
    ids=repr,
)
def test_settings_that_can_not_work_are_refused_and_nothing_is_written(tmp_path: Path, settings: NginxSettings) -> None:
    with pytest.raises(InvalidInput) as refused:
        install(tmp_path / "router", settings)
    assert refused.value.id == "bad_router_settings"
    assert not (tmp_path / "router").exists()


@pytest.mark.parametrize("name", ["with space", "quote'", "semi;colon", "dollar$", "br{ace", "new\nline", "ques?tion"])
def test_a_home_that_would_need_quoting_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput):
        install(tmp_path / name, GOOD)


def test_the_command_needs_nothing_but_the_home(tmp_path: Path) -> None:
    python, script, home = command(tmp_path)
    assert Path(python).exists()
    assert Path(script).exists()
    assert home == str(tmp_path)


def test_a_router_that_was_never_installed_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(RouterUnavailable, match="not installed"):
        NginxRouter(tmp_path).put(Route(app="shop", hosts=()))
