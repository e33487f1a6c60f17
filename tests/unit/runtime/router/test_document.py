from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import InvalidInput, RouterError
from runtime.router import document
from runtime.router.api import Route, RouteState

label = st.from_regex(document.LABEL, fullmatch=True)
hosts = st.builds(
    lambda wild, labels: ("*." if wild else "") + ".".join(labels), st.booleans(), st.lists(label, min_size=1, max_size=3)
)
addresses = st.builds(
    lambda ip, port: f"{f'[{ip}]' if ip.version == 6 else ip}:{port}", st.ip_addresses(), st.integers(1, 65535)
).filter(lambda text: "%" not in text)
header_values = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=50)
routes = st.builds(
    Route,
    app=st.from_regex(document.SLUG, fullmatch=True),
    hosts=st.lists(hosts.filter(document.is_host), max_size=4, unique=True).map(tuple),
    state=st.sampled_from(RouteState),
    addresses=st.lists(addresses, max_size=4).map(tuple),
    timeout_seconds=st.integers(1, 86_400),
    max_body_bytes=st.integers(0, 2**53 - 1),
    headers=st.dictionaries(st.from_regex(r"X-[A-Za-z0-9-]{1,20}", fullmatch=True), header_values, max_size=3).filter(
        lambda headers: not {name.lower() for name in headers} & document.HOP_HEADERS
    ),
    buffered=st.booleans(),
    force_https=st.booleans(),
    page=st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
)


@settings(deadline=None)
@given(routes)
def test_a_route_survives_the_way_through_json(route: Route) -> None:
    assert document.load(json.loads(document.dump(route))) == route


@settings(deadline=None)
@given(routes)
def test_a_document_is_one_line_of_ascii(route: Route) -> None:
    assert re.fullmatch(rb"[\x20-\x7e]+", document.dump(route))


@settings(deadline=None)
@given(st.text(max_size=80))
def test_a_host_is_refused_or_becomes_plain(text: str) -> None:
    try:
        host = document.normal_host(text)
    except InvalidInput:
        return
    assert re.fullmatch(r"(\*\.)?[a-z0-9_.-]+", host)
    assert document.normal_host(host) == host


@settings(deadline=None)
@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_hostile_values_are_refused_or_harmless(app: str, host: str, address: str, header: str) -> None:
    route = Route(app=app, hosts=(host,), addresses=(address,), headers={"X-Header": header})
    try:
        content = document.dump(route)
    except RouterError:
        return
    assert document.load(json.loads(content)) == route
    assert "/" not in app
    assert not {"\r", "\n", "\0"} & set(header)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Shop.Example.COM", "shop.example.com"),
        ("shop.example.com.", "shop.example.com"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("*.example.com", "*.example.com"),
        ("localhost", "localhost"),
    ],
)
def test_a_host_is_brought_into_normal_form(text: str, host: str) -> None:
    assert document.normal_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "*", "*.", "*.*.com", "a..b", "-a.com", "a-.com", "a b.com", "a/b", "a:80", "http://a", "a;b", "a\nb",
        "a\0b",
        "$host", "${x}", "'a'", '"a"', "a" * 64, ".".join(["a" * 60] * 5), "foo*.com", "[::1]", "a\\b", "%2e", "a,b",
    ],
)  # fmt: skip
def test_what_is_no_host_name_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        document.normal_host(text)
    assert refused.value.id == "bad_host"
    assert "shop.example.com" in refused.value.hint
