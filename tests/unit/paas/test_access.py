"""Alice owns, Charlie has no access, an admin sees everything; tokens are kept as hashes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from paas.accounts.models import ApiToken
from paas.accounts.services import active_token, create_token, create_user
from paas.apps.selectors import apps_visible_to, get_app, nth_subnet
from paas.apps.services import check_name, create_app
from runtime.errors import Conflict, InvalidInput, NotFound
from tests.factories import make_app, make_user

pytestmark = pytest.mark.django_db


def test_charlie_sees_no_app_of_alice_and_an_admin_sees_all():
    alice, charlie, admin = make_user("alice"), make_user("charlie"), make_user("admin", is_admin=True)
    app = make_app(owner=alice)
    assert list(apps_visible_to(alice)) == [app]
    assert list(apps_visible_to(charlie)) == []
    assert get_app(admin, "hello") == app
    with pytest.raises(NotFound):
        get_app(charlie, "hello")


@pytest.mark.parametrize("page", ["", "/builds/1"])
def test_charlie_gets_a_404_for_pages_of_alices_app(client, page):
    make_app(owner=make_user("alice"))
    client.force_login(make_user("charlie"))
    assert client.get(f"/apps/hello{page}").status_code == 404


def test_pages_need_a_session(client):
    for address in ("/", "/apps/hello"):
        assert client.get(address).headers["Location"].startswith("/login")


def test_charlie_cannot_roll_alices_app_back(client):
    make_app(owner=make_user("alice"))
    client.force_login(make_user("charlie"))
    assert client.post("/apps/hello/releases/1/rollback", {"only": "code"}).status_code == 404


def test_an_action_without_csrf_token_is_refused(client):
    from django.test import Client

    alice = make_user("alice")
    make_app(owner=alice)
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    assert strict.post("/apps/hello/releases/1/rollback", {"only": "code"}).status_code == 403


def test_a_token_is_stored_as_a_hash_and_ends_when_it_expires():
    alice = make_user("alice")
    token, secret = create_token(alice, name="laptop", by=alice, lifetime=timedelta(hours=1))
    assert secret not in str(ApiToken.objects.values())
    assert active_token(secret).user == alice
    assert active_token(secret + "x") is None
    ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now())
    assert active_token(secret) is None


def test_a_token_of_somebody_deactivated_is_worthless():
    alice = make_user("alice")
    _, secret = create_token(alice, name="laptop", by=alice)
    alice.is_active = False
    alice.save()
    assert active_token(secret) is None


def test_weak_passwords_and_second_accounts_are_refused():
    with pytest.raises(InvalidInput):
        create_user(email="bob@example.com", password="short")
    make_user("bob")
    with pytest.raises(Conflict):
        create_user(email="Bob@example.com", password="correct horse battery")


@pytest.mark.parametrize("name", ["", "A", "1a", "a_b", "-a", "a-", "a--b", "a" * 31, "git", "www", "a.b", "ä"])
def test_names_that_are_no_dns_label_or_ours_are_refused(name):
    with pytest.raises(InvalidInput):
        check_name(name)


def test_each_app_has_a_network_of_its_own_and_a_freed_one_is_used_again():
    alice = make_user("alice")
    first, second = create_app(name="a", by=alice), create_app(name="b", by=alice)
    assert (first.network_index, second.network_index) == (0, 1)
    first.delete()
    assert create_app(name="c", by=alice).network_index == 0
    assert str(nth_subnet("10.210.0.0/16", 9)) == "10.210.2.64/26"
    with pytest.raises(Conflict):
        create_app(name="b", by=alice)


def test_an_app_made_anew_shares_no_network_with_the_one_of_its_name_before():
    alice = make_user("alice")
    first = create_app(name="hello", by=alice)
    before = first.network
    first.delete()
    assert create_app(name="hello", by=alice).network != before
