"""A POST that is sent twice with one `Idempotency-Key` is carried out once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from paas.accounts.models import ApiToken
from paas.api.models import KeptAnswer
from paas.apps.models import App
from tests.factories import make_app, make_user
from tests.unit.paas.api.conftest import ApiClient

pytestmark = pytest.mark.django_db
KEY = {"Idempotency-Key": "6f1c0c1e-5d0c-4c57-9f7e-3c0d2e5b8a11"}


def test_the_second_time_the_answer_of_the_first_comes_back(api):
    first = api.post("/apps", {"name": "hello"}, headers=KEY)
    second = api.post("/apps", {"name": "hello"}, headers=KEY)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.data == first.data
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.headers["Request-Id"] != first.headers["Request-Id"]
    assert int(second.headers["RateLimit-Remaining"]) < int(first.headers["RateLimit-Remaining"])
    assert App.objects.count() == 1


@pytest.mark.parametrize(("path", "body"), [("/apps", {"name": "other"}), ("/tokens", {"name": "hello"})])
def test_the_same_key_for_something_else_is_refused(api, path, body):
    api.post("/apps", {"name": "hello"}, headers=KEY)
    refused = api.post(path, body, headers=KEY)
    assert (refused.status_code, refused.data["code"]) == (422, "idempotency_key_reused")
    assert App.objects.count() == 1


def test_while_the_first_is_at_work_the_second_is_told_so(api):
    api.post("/apps", {"name": "hello"}, headers=KEY)
    KeptAnswer.objects.update(answer=None)
    refused = api.post("/apps", {"name": "hello"}, headers=KEY)
    assert (refused.status_code, refused.data["code"]) == (409, "idempotency_key_in_use")
    assert refused.headers["Retry-After"] == "1"


def test_one_whose_worker_died_is_tried_again_in_the_end(api):
    api.post("/apps", {"name": "hello"}, headers=KEY)
    KeptAnswer.objects.update(answer=None, begun_at=timezone.now() - timedelta(minutes=11))
    again = api.post("/apps", {"name": "hello"}, headers=KEY)
    assert again.data["code"] == "name_taken"  # it had been carried out


def test_what_was_refused_may_be_tried_again_with_the_same_key(api):
    other = make_app("hello")
    assert api.post("/apps", {"name": "hello"}, headers=KEY).status_code == 422
    other.delete()
    assert api.post("/apps", {"name": "hello"}, headers=KEY).status_code == 201


def test_after_a_day_a_key_is_a_new_one(api):
    api.post("/apps", {"name": "hello"}, headers=KEY)
    KeptAnswer.objects.update(begun_at=timezone.now() - timedelta(days=1, minutes=1))
    assert api.post("/apps", {"name": "other"}, headers=KEY).status_code == 201
    assert KeptAnswer.objects.count() == 1


def test_a_key_belongs_to_its_token(api):
    api.post("/apps", {"name": "hello"}, headers=KEY)
    bob = ApiClient(make_user("bob"))
    assert bob.post("/apps", {"name": "other"}, headers=KEY).data["name"] == "other"


def test_a_secret_in_a_kept_answer_is_encrypted(api):
    made = api.post("/tokens", {"name": "CI"}, headers=KEY)
    assert api.post("/tokens", {"name": "CI"}, headers=KEY).data["secret"] == made.data["secret"]
    assert ApiToken.objects.filter(name="CI").count() == 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT answer FROM api_keptanswer")
        assert made.data["secret"] not in str(cursor.fetchone())


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there"])
def test_a_key_that_is_none_is_refused(api, key):
    refused = api.post("/apps", {"name": "hello"}, headers={"Idempotency-Key": key})
    assert (refused.status_code, refused.data["code"]) == (422, "invalid_idempotency_key")
    assert not App.objects.exists()


def test_without_a_good_token_nothing_is_replayed(api):
    api.post("/apps", {"name": "hello"}, headers=KEY)
    refused = api.post("/apps", {"name": "hello"}, headers={**KEY, "Authorization": "Bearer paas_wrong"})
    assert refused.status_code == 401
    assert KeptAnswer.objects.count() == 1


def test_a_wrong_token_with_a_key_is_slowed_down_like_any_other(api):
    for number in range(30):
        wrong = {"Idempotency-Key": str(number), "Authorization": f"Bearer paas_wrong{number}"}
        last = api.post("/apps", {"name": "hello"}, headers=wrong)
    assert last.status_code == 429
    assert not KeptAnswer.objects.exists()


def test_a_request_that_only_looks_has_no_use_for_a_key(api, alice):
    make_app("hello", owner=alice)
    assert api.get("/apps", headers=KEY).status_code == 200
    assert not KeptAnswer.objects.exists()
