"""Whatever is typed: it is accepted or refused in words, and what reaches the router is what was meant, on one line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paas.convergence.spec import app_spec
from paas.releases.selectors import wished_release
from paas.routing.rules import checked_domain
from paas.routing.services import add_domain, add_port
from runtime.errors import UserError
from runtime.router import document
from runtime.router.api import Binding, Route
from tests.factories import make_app, make_release

T = TypeVar("T")
pytestmark = pytest.mark.django_db

HOST = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)+")
NASTY = "\n\r\t\0;{}$\"'\\#/*.-_:[] \u2028\u3002ß\u200d\udc80"
nasty = st.sampled_from([*NASTY, "xn--", "example.com"])
names = st.one_of(
    st.text(max_size=40),
    st.lists(st.one_of(nasty, st.text(alphabet="abcXYZ019-ü", max_size=8)), max_size=12).map("".join),
    st.from_regex(r"[a-z*.\-_0-9]{1,40}\.[a-z]{1,5}", fullmatch=True),
    st.builds("{}.{}".format, st.text(max_size=70), st.just("apps.example")),
)
fuzz = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


def accepted(act: Callable[[], T]) -> T | None:
    """None: refused, in words."""
    try:
        return act()
    except UserError as exc:
        refusal = exc
    assert refusal.message
    assert refusal.hint
    return None


@contextmanager
def undone() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@given(names)
@fuzz
def test_a_domain_is_a_host_name_or_refused_in_words(text):
    name = accepted(lambda: checked_domain(text))
    if name is None:
        return
    assert HOST.fullmatch(name)
    assert len(name) <= 253
    assert checked_domain(name) == name
    assert not name.endswith(".apps.example")
    content = document.dump(Route("hello", [name]))
    assert b"\n" not in content
    assert json.loads(content)["hosts"] == [name]


@given(names)
@settings(fuzz, max_examples=60)
def test_a_domain_that_was_added_is_in_the_route_and_nothing_else_is(text):
    with undone():
        app = make_app("fuzzed")
        domain = accepted(lambda: add_domain(app, text, by=app.owner))
        hosts = app_spec(app, None).hosts
        assert hosts == ("fuzzed.apps.example", *([domain.name] if domain else []))
        document.check(Route(app.name, hosts))


ports = st.one_of(st.integers(-2, 70_000), st.integers(19_990, 20_210), st.integers())
processes = st.one_of(st.sampled_from(["web", "game"]), st.text(max_size=45), st.lists(nasty, max_size=6).map("".join))
protocols = st.one_of(st.sampled_from(["tcp", "udp", "TCP", "http"]), st.text(max_size=8))
tables = st.lists(st.tuples(processes, ports, protocols, st.one_of(st.none(), ports)), max_size=5)


@given(tables, st.booleans())
@settings(fuzz, max_examples=60)
def test_a_table_of_ports_ends_as_bindings_that_the_router_takes(table, is_deployed):
    with undone():
        app = make_app("fuzzed")
        if is_deployed:
            make_release(app, process_types={"web": "x", "game": "y"})
        for process, port, protocol, public in table:
            add = partial(add_port, app, process=process, port=port, protocol=protocol, public_port=public)
            accepted(partial(add, by=app.owner))
        release = wished_release(app)
        keys = set()
        for spec in app_spec(app, release).processes if release else ():
            assert all(re.fullmatch(r"PAAS_(TCP|UDP)_\d{1,5}|[A-Z_]+", name) for name in spec.environment)
            for bound in spec.bound:
                binding = Binding(app.name, bound.protocol, bound.public_port, [f"10.0.0.2:{bound.port}"])
                assert b"\n" not in document.dump_binding(binding)
                assert 20_000 <= bound.public_port <= 20_199
                keys.add(bound.key)
        rows = release.ports if release else []
        assert len({(row["protocol"], row["public_port"]) for row in rows}) == len(rows)
        assert not is_deployed or len(keys) == len(rows)
