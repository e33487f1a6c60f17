"""The oracle itself: what it finds, and what it lets pass."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.paas.api import conformance
from tests.unit.paas.api.conformance import NonconformingAnswer, check

V3 = "application/vnd.heroku+json; version=3"
SDK = "application/vnd.heroku+json; version=3.sdk"
ID = "01234567-89ab-4cde-8f01-23456789abcd"
TIME = "2026-01-02T03:04:05Z"


def region(**changes: Any) -> dict[str, Any]:
    return {
        "country": "Here",
        "created_at": TIME,
        "description": "This machine",
        "id": ID,
        "locale": "Here",
        "name": "local",
        "private_capable": False,
        "provider": {"name": "paas", "region": "local"},
        "updated_at": TIME,
    } | changes


def app(**changes: Any) -> dict[str, Any]:
    named = {"id": ID, "name": "local"}
    return {
        "acm": False,
        "archived_at": None,
        "buildpack_provided_description": None,
        "build_stack": named,
        "created_at": TIME,
        "generation": named,
        "git_url": "https://localhost:5443/hello.git",
        "id": ID,
        "internal_routing": None,
        "maintenance": False,
        "name": "hello",
        "organization": None,
        "owner": {"email": "alice@example.com", "id": ID},
        "region": named,
        "released_at": None,
        "repo_size": None,
        "slug_size": None,
        "space": None,
        "stack": named,
        "team": None,
        "updated_at": TIME,
        "web_url": "http://hello.apps.example/",
    } | changes


def complaint(method: str, path: str, accept: str, status: int, body: object) -> list[str]:
    with pytest.raises(NonconformingAnswer) as caught:
        check(method, path, accept, status, body)
    return str(caught.value).splitlines()


def test_a_whole_answer_passes_as_bytes_and_as_values():
    assert check("GET", "/regions/local", V3, 200, region())
    assert check("get", "/regions/local?x=1", SDK, 200, json.dumps(region()).encode())
    assert check("GET", "/regions", V3, 206, [region(), region()])


def test_a_missing_field_is_named_with_its_place():
    body = [app(), app(owner={"id": ID})]
    del body[0]["released_at"]
    lines = complaint("GET", "/apps", V3, 200, body)
    assert lines[0] == f"GET /apps [{V3}] -> 200 is no list of app of the official schema:"
    assert lines[1:] == ["  [0].released_at: is missing", "  [1].owner.email: is missing"]


def test_an_extra_field_is_named():
    lines = complaint("GET", "/regions/local", V3, 200, region(flavour="vanilla", colour="blue"))
    assert lines[1:] == ["  colour: is not in the schema", "  flavour: is not in the schema"]


def test_a_wrong_type_is_named_with_the_right_one():
    assert complaint("GET", "/regions/local", V3, 200, region(private_capable=0))[1:] == [
        "  private_capable: 0 is not boolean"
    ]
    assert complaint("GET", "/regions", V3, 200, region())[1].endswith("is not array")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("created_at", "2026-01-02T03:04:05.123Z"),
        ("created_at", "2026-01-02T03:04:05+00:00"),
        ("id", ID.upper()),
        ("id", ID.replace("-", "")),
    ],
)
def test_times_and_ids_are_written_as_the_clients_know_them(field: str, value: str):
    form = {"created_at": "date-time", "id": "uuid"}[field]
    assert complaint("GET", "/regions/local", V3, 200, region(**{field: value}))[1:] == [
        f'  {field}: "{value}" does not have the format {form}'
    ]


def test_the_variant_chooses_the_schema():
    assert check("GET", "/apps/hello", V3, 200, app())
    assert check("GET", "/apps/hello", V3.replace("=3", "=3.cedar-acm"), 200, app())
    assert "  generation: " in "\n".join(complaint("GET", "/apps/hello", V3, 200, app(generation="cedar")))
    lines = complaint("GET", "/apps/hello", SDK, 200, app(generation="cedar"))
    assert lines[1:] == [
        "  base_image_name: is missing",
        "  buildpacks: is missing",
        "  current_build_architecture: is missing",
    ]


def test_names_of_hosts_are_free_and_names_of_apps_are_not():
    assert check("GET", "/apps/hello", V3, 200, app(web_url="https://hello.apps.example:8443/"))
    assert "pattern" in complaint("GET", "/apps/hello", V3, 200, app(name="Hello!"))[1]


def test_the_more_literal_endpoint_wins():
    assert check("GET", "/users/~/apps", V3, 200, [app()])
    assert check("POST", "/filters/apps", V3.replace("=3", "=3.filters"), 200, []) is True
    assert "list of release" in complaint("GET", "/apps/hello/releases", V3, 200, {})[0]


def test_a_drain_is_found_by_its_whole_address():
    assert "log-drain" in complaint("DELETE", "/apps/hello/log-drains/https://u:p@logs.example/x?y=z", V3, 200, [])[0]


def test_config_vars_are_a_flat_map_of_text():
    assert check("GET", "/apps/hello/config-vars", V3, 200, {"A": "1", "B": ""})
    assert complaint("GET", "/apps/hello/config-vars", V3, 200, {"A": 1})[1:] == ["  A: 1 is not string or null"]


def test_an_endpoint_that_no_schema_knows_is_not_judged():
    assert check("GET", "/apps/hello/port-bindings", V3, 200, {"anything": 1}) is False
    assert check("PATCH", "/regions/local", V3, 200, {}) is False


def test_an_error_has_id_and_message_and_little_else():
    assert check("GET", "/apps/x", V3, 404, {"id": "not_found", "message": "Couldn't find that app.", "resource": "app"})
    assert complaint("GET", "/apps/x", V3, 404, {"id": "not_found", "detail": "x"})[1:] == [
        "  message: is missing",
        "  detail: is not a property of an error",
    ]
    assert complaint("GET", "/x", V3, 500, {"id": "Not Found", "message": "x"})[1:] == [
        "  id: 'Not Found' is not like_this"
    ]
    assert complaint("GET", "/x", V3, 422, {"id": "invalid_params", "message": ""})[1:] == ["  message: '' is not text"]
    assert "not JSON" in complaint("GET", "/x", V3, 500, b"<h1>Server Error</h1>")[0]


def test_no_body_where_none_belongs():
    assert check("GET", "/apps", V3, 304, b"")
    assert "has no body" in complaint("GET", "/apps", V3, 304, b"[]")[0]
    assert check("DELETE", "/apps/hello/dynos/web.1", V3, 202, {})
    assert complaint("DELETE", "/apps/hello/dynos/web.1", V3, 202, {"a": 1})[1:] == ["  a: is not in the schema"]


@pytest.mark.parametrize("variant", conformance.DOCUMENTS)
def test_every_schema_can_be_applied(variant: str):
    described = [link for link in conformance._links(variant) if link.validator is not None]
    assert len(described) > 290
    for link in described:
        link.validator.is_valid({"id": 1})  # raises when something it refers to isn't there
