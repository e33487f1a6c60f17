"""The OpenAPI document, its page, and what happens when somebody asks all that it allows, and what it does not."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from django.db import transaction
from django.test import Client
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis.errors import Unsatisfiable
from jsonschema import Draft202012Validator
from pydantic import BaseModel
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from schemathesis.core import NOT_SET
from schemathesis.generation import GenerationMode

from paas.api import openapi
from paas.api.app import api
from paas.api.openapi import operations
from paas.api.schemas import Answer, Body
from paas.env import CHECKOUT
from paas.pipelines import services as pipelines
from paas.releases.tags import add_tag
from paas.routing.services import add_port
from tests.factories import make_app, make_config, make_live, make_release
from tests.unit.paas.api.conftest import ApiClient

pytestmark = pytest.mark.django_db
EXAMPLES = 2  # of each kind, for each operation
SHARDS = 8  # of the operations: side by side, and none of them takes long
DOCUMENT = "urn:openapi"
REFERENCE = CHECKOUT / "docs" / "reference"


@functools.cache
def document() -> dict[str, Any]:
    return openapi.document()


def ask(path: str) -> Any:
    return Client().get(path, headers={"X-Paas-Door": "api"})


def test_the_document_is_open_and_names_every_endpoint_once():
    answer = ask("/openapi.json")
    assert answer.headers["Content-Type"] == "application/json"
    made = json.loads(answer.content)
    assert made["openapi"].startswith("3.1")
    assert "/apps/{identity}/ports" in made["paths"]
    names = [each["operationId"] for *_, each in operations(made)]
    assert len(names) == len(set(names)) > 100
    assert made["paths"]["/apps"]["post"]["security"] == [{"Bearer": []}, {"Basic": []}]


def test_no_two_shapes_have_the_same_name_as_the_document_would_take_them_for_one():
    def below(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
        for each in kind.__subclasses__():
            if each.__module__.startswith("paas.api."):
                yield each
            yield from below(each)

    document()
    shapes: dict[str, set[str]] = {}
    for each in {*below(Answer), *below(Body)}:
        shapes.setdefault(each.__name__, set()).add(json.dumps(each.model_json_schema()))
    assert [name for name, found in shapes.items() if len(found) > 1] == []


def test_every_reference_in_the_document_leads_somewhere():
    text = json.dumps(document())
    for name in set(re.findall(r'"#/components/schemas/([^"]+)"', text)):
        assert name in document()["components"]["schemas"]
        Draft202012Validator.check_schema(document()["components"]["schemas"][name])


def test_the_page_shows_every_endpoint_and_loads_nothing_from_elsewhere():
    answer = ask("/docs")
    page = answer.content.decode()
    for path, method, _ in operations(document()):
        assert f"{method.upper()}</span> <code>{path}</code>" in page
    assert re.findall(r'(?:src|href)="(?!#|data:)([^"]*)"', page) == ["/docs/style.css", "/openapi.json"]
    assert not re.search(r"<script|<style| style=| on[a-z]+=", page)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    style = ask("/docs/style.css")
    assert style.headers["Content-Type"].startswith("text/css")
    assert b"url(" not in style.content


def test_every_endpoint_that_only_this_platform_has_is_in_the_reference():
    """As `METHOD /path/:noun` in a table; `…` stands for the path before it."""
    told = set()
    for row in re.findall(r"^\| (.*?) \|", (REFERENCE / "api.md").read_text(), re.MULTILINE):
        before = ""
        for method, path in re.findall(r"`(GET|POST|PUT|PATCH|DELETE) ([^ `?]*)", row):
            before = before + path[1:] if path.startswith("…") else path
            told.add((method, re.sub(r":\w+", "*", before)))
    made = api.get_openapi_schema(path_prefix="")
    ours = {
        (method.upper(), re.sub(r"\{\w+\}", "*", path))
        for path, method, each in operations(made)
        if each["operationId"].startswith("paas_api_platform")
    }
    assert len(ours) > 80
    assert sorted(ours - told) == []


@pytest.fixture
def known(alice) -> dict[str, Any]:
    """What stands in paths for things that are there."""
    alice.is_admin = True
    alice.save()
    shop, staging = make_app("shop", owner=alice), make_app("shop-staging", owner=alice)
    make_config(shop, GREETING="hello")
    image = make_release(shop).image
    assert image is not None
    make_release(staging)
    add_tag(shop, "stable", image, by=alice)
    port, release = add_port(shop, port=9000, by=alice)
    make_live(release)
    line = pipelines.create_pipeline("shop-line", by=alice)
    coupling = pipelines.couple_app(line, staging, "staging", by=alice)
    pipelines.couple_app(line, shop, "production", by=alice)
    promotion = pipelines.promote(line, staging, [shop], by=alice)
    return {
        "identity": "shop",
        "release": "v2",
        "other": "~current",
        "tag": "stable",
        "process": "web",
        "protocol": "tcp",
        "public_port": port,
        "pipeline": "shop-line",
        "coupling": str(coupling.pk),
        "promotion": str(promotion.pk),
        "person": "alice@example.com",
        "email": "alice@example.com",
        "name": "GREETING",
    }


def of_document() -> list[Any]:
    """All operations; the headers are the client's own."""
    plain = json.loads(json.dumps(document()))
    for *_, each in operations(plain):
        each["parameters"] = [parameter for parameter in each["parameters"] if parameter["in"] != "header"]
    return [found.ok() for found in schemathesis.openapi.from_dict(plain).get_all_operations()]


@pytest.mark.parametrize("shard", range(SHARDS))
def test_whatever_is_asked_is_answered_as_documented_and_never_by_a_fault_of_ours(alice, known, shard):
    client = ApiClient(alice)
    registry = Registry().with_resource(DOCUMENT, Resource.from_contents(document(), default_specification=DRAFT202012))
    asked: dict[str, set[int]] = {}

    def check(operation: Any, case: Any, is_known: bool) -> None:
        if is_known:
            case.path_parameters = {name: known.get(name, value) for name, value in (case.path_parameters or {}).items()}
        sent = case.as_transport_kwargs(base_url="http://api.example")
        body = None if case.body is NOT_SET else json.dumps(case.body, default=str).encode()
        with transaction.atomic():
            answer = client.request(case.method.upper(), _target(case, sent), body)
            transaction.set_rollback(True)
        where = f"{case.method} {_target(case, sent)} {body!r}: {answer.status_code}"
        assert answer.status_code < 500, where
        asked.setdefault(operation.label, set()).add(answer.status_code)
        if answer.streaming or not answer.content:
            return
        declared = operation.definition.raw["responses"]
        declared = declared.get(str(answer.status_code), declared["default"])
        schema = next(iter(declared["content"].values()))["schema"]
        resolved = json.loads(json.dumps(schema).replace('"#/', f'"{DOCUMENT}#/'))
        faults = list(Draft202012Validator(resolved, registry=registry).iter_errors(answer.data))
        assert not faults, f"{where}: {faults[0].message}"

    # What the document allows, of things that are there; and what it doesn't, of things that mostly are not.
    for operation in of_document()[shard::SHARDS]:
        for mode, is_known in ((GenerationMode.POSITIVE, True), (GenerationMode.NEGATIVE, False)):
            strategy = operation.as_strategy(generation_mode=mode)
            _examples(strategy, lambda case, operation=operation, is_known=is_known: check(operation, case, is_known))
    answered = [label for label, statuses in asked.items() if any(status < 300 for status in statuses)]
    assert len(asked) > 10
    assert len(answered) > len(asked) / 3, sorted(set(asked) - set(answered))


def _target(case: Any, sent: dict[str, Any]) -> str:
    from urllib.parse import quote, urlencode

    path = case.path
    for name, value in (case.path_parameters or {}).items():
        path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
    query = urlencode(sent.get("params") or {}, doseq=True)
    return f"{path}?{query}" if query else path


def _examples(strategy: Any, check: Any) -> None:
    """The same ones every time."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    @given(case=strategy)
    def run(case: Any) -> None:
        check(case)

    with suppress(Unsatisfiable):  # nothing of this kind can be asked
        run()
