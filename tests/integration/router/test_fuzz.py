"""No value of an app gets into the router's configuration: its files stay what `install` wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.errors import RouterError
from runtime.router.api import Binding, PortProtocol, Route
from tests.integration.router.conftest import RunningNginx

NASTY = "\n\r\t\0;{}$\"'\\#/*.-_:[] \u2028ß"
text = st.one_of(st.text(max_size=20), st.text(alphabet=NASTY + "ab1", max_size=12), st.just("127.0.0.1:9"))
FIXED = ("nginx.conf", "tcp.conf", "ports.json", "router.json", "run/tcp.listen", "js/ports.js")


def fixed(home: Path) -> dict[str, bytes]:
    return {name: (home / name).read_bytes() for name in FIXED}


@given(app=text, hosts=st.lists(text, max_size=3), addresses=st.lists(text, max_size=3), offset=st.integers(-1, 25))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_an_app_brings_the_configuration_stays(
    nginx: RunningNginx, app: str, hosts: list[str], addresses: list[str], offset: int
) -> None:
    before = fixed(nginx.home)
    port = nginx.range[0] + min(offset, 19) if offset >= 0 else offset
    for protocol in PortProtocol:
        for name in (app, "shop"):
            try:
                nginx.router.bind(Binding(name, protocol, port, addresses))
            except RouterError as exc:
                assert exc.id in {"bad_binding", "port_taken"}, exc  # noqa: PT017
    try:
        nginx.router.put(Route(app, hosts, addresses=addresses))
    except RouterError as exc:
        assert exc.id == "bad_route", exc  # noqa: PT017
    assert fixed(nginx.home) == before
    for folder in ("ports", "apps"):
        for file in (nginx.home / folder).iterdir():
            if file.name != ".lock":
                assert re.fullmatch(r"(tcp|udp)-\d{1,5}\.json|[a-z0-9-]+\.json", file.name)
                assert b"\n" not in file.read_bytes()
                json.loads(file.read_bytes())
    assert nginx.router.healthy()
