"""Every endpoint of the API, found in its table: who gets in, and how many questions a list costs.

A new endpoint comes in by itself. Arguments that are not in `EXAMPLES` are called `web`: an endpoint looks for the app
first, so these tests don't need what the rest of the address names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from paas.accounts.models import Scope, User
from paas.api.app import api as the_api
from paas.api.auth import SAFE, TokenAuth
from paas.apps.models import App, Role
from paas.apps.services import add_collaborator
from paas.convergence.models import Instance, InstanceState
from paas.core.models import AuditEvent
from paas.routing.services import add_domain
from tests.factories import make_app, make_config, make_live, make_release, make_user
from tests.unit.paas.api.conftest import ApiClient

pytestmark = pytest.mark.django_db

EXAMPLES = {"identity": "hello", "release": "1", "number": "1", "protocol": "tcp", "public_port": "20001"}
PARAMETER = re.compile(r"\{(?:\w+:)?(\w+)\}")
# Asks name servers for each domain and writes down what they said; goes over the images of each app.
ONE_BY_ONE = {"/apps/{identity}/domain-checks", "/host/cleanup"}
WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")
Endpoint = tuple[str, str, Any]  # method, path, ninja's operation


def endpoints() -> Iterator[Endpoint]:
    for router in the_api._get_bound_routers():
        for path, view in router.path_operations.items():
            for operation in view.operations:
                for method in operation.methods:
                    yield method, f"/{path.lstrip('/')}", operation


def address(path: str, operation: Any) -> str:
    """With something of the right type in each place, and in each field of the query that is needed."""
    fields: dict[str, dict[str, Any]] = {model.__ninja_param_source__: model.model_fields for model in operation.models}
    examples: dict[Any, str] = {UUID: str(UUID(int=1)), int: "1"}

    def example(found: re.Match[str]) -> str:
        field = fields.get("path", {}).get(found[1])
        return EXAMPLES.get(found[1]) or examples.get(field and field.annotation, "web")

    needed = [f"{name}=web" for name, field in fields.get("query", {}).items() if field.is_required()]
    return PARAMETER.sub(example, path) + ("?" if needed else "") + "&".join(needed)


def only(wanted: Callable[[str, str, Any], bool]) -> list[Endpoint]:
    found = [each for each in endpoints() if wanted(*each)]
    assert found
    return found


def auth_of(operation: Any) -> Any:
    """What lets a request in: of the endpoint, of its module, or the API's own. None: nothing has to."""
    callbacks = list(operation.auth_callbacks)
    assert len(callbacks) <= 1
    return callbacks[0] if callbacks else None


def takes_a_token(method: str, path: str, operation: Any) -> bool:
    return isinstance(auth_of(operation), TokenAuth)


def is_of_an_app(method: str, path: str, operation: Any) -> bool:
    return path.startswith("/apps/{identity}") and takes_a_token(method, path, operation)


def scope_of(method: str, operation: Any) -> Scope:
    auth = auth_of(operation)
    scope: Scope = auth.reading if method in SAFE else auth.writing
    return scope


def test_every_path_belongs_to_one_module():
    """Of two with the same path Django asks only the first."""
    seen: dict[str, Any] = {}
    for _, path, operation in endpoints():
        plain = PARAMETER.sub("{}", path)
        module = operation.view_func.__module__
        assert seen.setdefault(plain, module) == module, f"{path} is in {seen[plain]} and in {module}"


def test_an_app_of_somebody_else_is_not_found(alice):
    make_live(make_config(make_app(owner=alice), A="1"))
    charlie = ApiClient(make_user("charlie"))
    before = AuditEvent.objects.count()
    wrong: dict[str, Any] = {}
    for method, path, operation in only(is_of_an_app):
        response = charlie.request(method, address(path, operation), body=example_body(operation))
        if (response.status_code, response.data.get("id"), response.data.get("resource")) != (404, "not_found", "app"):
            wrong[f"{method} {path}"] = response.status_code, response.data
    assert wrong == {}
    assert AuditEvent.objects.count() == before


def test_a_viewer_changes_nothing(alice):
    app, bob = make_app(owner=alice), ApiClient(make_user("bob"))
    make_release(app)
    add_collaborator(app, bob.user, Role.VIEWER, by=alice)
    before = AuditEvent.objects.count()
    wrong: dict[str, Any] = {}
    for method, path, operation in only(is_of_an_app):
        if method not in SAFE and scope_of(method, operation) != Scope.READ:
            response = bob.request(method, address(path, operation), body=example_body(operation))
            if response.status_code not in {403, 404} or AuditEvent.objects.count() != before:
                wrong[f"{method} {path}"] = response.status_code, response.data
    assert wrong == {}


@pytest.mark.parametrize("credentials", ["", "Bearer paas_wrong"])
def test_nobody_gets_in_without_a_token(credentials, api):
    wrong: dict[str, Any] = {}
    for method, path, operation in only(takes_a_token):
        response = api.request(method, address(path, operation), body=b"{}", headers={"Authorization": credentials})
        if (response.status_code, response.data["id"]) != (401, "unauthorized"):
            wrong[f"{method} {path}"] = response.status_code, response.data
    assert wrong == {}


def test_a_reading_token_changes_nothing(alice):
    """It is refused, or what it asks for is looked up."""
    app = make_app(owner=alice)
    make_release(app)
    reader = ApiClient(alice, scopes=(Scope.READ,))
    wrong: dict[str, Any] = {}
    for method, path, operation in only(takes_a_token):
        with CaptureQueriesContext(connection) as asked:
            response = reader.request(method, address(path, operation), body=example_body(operation))
        if scope_of(method, operation) == Scope.READ:
            # When the token was used last is written down.
            found = [each["sql"] for each in asked if each["sql"].startswith(WRITES) and "apitoken" not in each["sql"]]
            if found:
                wrong[f"{method} {path}"] = found
        elif (response.status_code, response.data.get("code")) != (403, "token_scope"):
            wrong[f"{method} {path}"] = response.status_code, response.data
    assert wrong == {}


def test_a_token_for_one_app_is_no_key_to_other_things(alice):
    bound = ApiClient(alice, scopes=(Scope.WRITE,), app=make_app(owner=alice))
    wrong: dict[str, Any] = {}
    for method, path, operation in only(takes_a_token):
        if not path.startswith("/apps/") and not auth_of(operation).for_one_app:
            response = bound.request(method, address(path, operation), body=example_body(operation))
            if (response.status_code, response.data.get("code")) != (403, "token_scope"):
                wrong[f"{method} {path}"] = response.status_code, response.data
    assert wrong == {}


def test_a_list_asks_no_more_questions_the_longer_it_is(alice):
    reading = [
        address(path, operation)
        for method, path, operation in only(takes_a_token)
        if method == "GET" and path not in ONE_BY_ONE
    ]
    clients = ApiClient(alice), ApiClient(make_user("root", is_admin=True))
    grow("hello", alice, range(1, 3))
    few = {(n, path): questions(client, path) for path in reading for n, client in enumerate(clients)}
    grow("hello", alice, range(3, 7))
    many = {(n, path): questions(client, path) for path in reading for n, client in enumerate(clients)}
    assert {each: (few[each], many[each]) for each in few if many[each] > few[each]} == {}


def grow(name: str, alice: User, numbers: range) -> None:
    """An app, more of all that is below it, and more apps."""
    app = App.objects.filter(name=name).first() or make_app(name, owner=alice)
    for number in numbers:
        make_release(app)
        make_release(make_app(f"other-{number}", owner=alice))
        Instance.objects.create(app=app, process="web", index=number, release_version=number, state=InstanceState.UP)
        add_domain(app, f"www{number}.example.com", by=alice)
        add_collaborator(app, make_user(f"bob-{number}"), Role.VIEWER, by=alice)


def questions(client: ApiClient, path: str) -> int:
    client.get(path)
    with CaptureQueriesContext(connection) as asked:
        client.get(path)
    return len(asked)


def example_body(operation: Any) -> dict[str, Any]:
    """Something of the right shape for every field that is needed."""
    model = next((each for each in operation.models if each.__ninja_param_source__ == "body"), None)
    if model is None:
        return {}
    schema = model.model_json_schema(mode="validation")
    names = list(model.model_fields)
    fields = schema.get("properties", {})
    inner = fields.get(names[0], {}) if len(names) == 1 else schema
    made = _example(inner, schema.get("$defs", {}))
    return made if isinstance(made, dict) else {}


def _example(schema: Any, known: Any) -> Any:
    if "$ref" in schema:
        return _example(known[schema["$ref"].rsplit("/", 1)[-1]], known)
    if "default" in schema:
        return schema["default"]
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return _example(schema[several][0], known)
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            needed = schema.get("required", [])
            return {name: _example(schema["properties"][name], known) for name in needed}
        case "array":
            return []
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return False
        case _:
            return str(UUID(int=1)) if schema.get("format") == "uuid" else "web"
