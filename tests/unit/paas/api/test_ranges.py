"""Lists in parts, in every spelling that clients have."""

from __future__ import annotations

import pytest

from paas.api.errors import Refusal
from paas.api.ranges import Range, parse_range
from tests.factories import make_app

pytestmark = pytest.mark.django_db


@pytest.fixture
def five(alice):
    return [make_app(f"app-{n}", owner=alice) for n in range(5)]


def names(response) -> list[str]:
    return [each["name"] for each in response.data]


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        ("", Range("id")),
        ("id ..; max=1000;", Range("id", most=1000)),
        ("version ..; max=15, order=desc", Range("version", most=15, descending=True)),
        ("version ..; order=desc,max=1", Range("version", most=1, descending=True)),
        ("domain ..; ;", Range("id")),
        ("id ..; max=1000000", Range("id", most=1000)),
        ("name ]b..; order=asc,max=200", Range("name", first="b", without_first=True)),
        ("name a..c[", Range("name", first="a", last="c", without_last=True)),
        ("bytes=0-10", Range("id")),
    ],
)
def test_ranges_as_clients_spell_them(header, meant):
    assert parse_range(header, ["id", "name", "version"]) == meant


@pytest.mark.parametrize("header", ["id", "nothing here", "id ..; max=0", "id ..; order=up", "size 3..", "id ..; max=x"])
def test_a_range_that_says_nothing_can_not_be_satisfied(header):
    with pytest.raises(Refusal) as refused:
        parse_range(header, ["id"])
    assert refused.value.status == 416


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_following_next_range_brings_everything_once(api, five, order):
    header, found = f"name ..; order={order},max=2", []
    for status in (206, 206, 200):
        response = api.get("/apps", headers={"Range": header})
        assert response.status_code == status
        found += names(response)
        header = response.headers.get("Next-Range", "")
    assert found == sorted((app.name for app in five), reverse=order == "desc")
    assert header == ""


def test_headers_of_a_part(api, five):
    response = api.get("/apps", headers={"Range": "name ..; max=2"})
    assert response.headers["Next-Range"] == "name ]app-1..; order=asc,max=2"
    assert response.headers["Content-Range"] == "name app-0..app-1"
    assert response.headers["Accept-Ranges"] == "id, name"


def test_a_part_between_two_ends(api, five):
    assert names(api.get("/apps", headers={"Range": "name app-1..app-3"})) == ["app-1", "app-2", "app-3"]
    assert names(api.get("/apps", headers={"Range": "name ]app-1..app-3["})) == ["app-2"]


def test_by_id_and_a_start_that_is_none(api, five):
    ids = sorted(str(app.pk) for app in five)
    response = api.get("/apps", headers={"Range": f"id ]{ids[1]}.."})
    assert [each["id"] for each in response.data] == ids[2:]
    assert api.get("/apps", headers={"Range": "id nonsense.."}).status_code == 416


def test_a_range_on_a_single_thing_is_ignored(api, five):
    assert api.get("/apps/app-0", headers={"Range": "id ..; max=1000"}).status_code == 200
    assert api.patch("/apps/app-0", {"maintenance": True}, headers={"Range": "nonsense"}).status_code == 200


def test_an_empty_list_is_a_list(api):
    response = api.get("/apps")
    assert (response.status_code, response.data) == (200, [])
