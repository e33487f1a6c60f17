"""One-time codes and recovery codes, and how guessing is slowed down."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from redis.exceptions import ConnectionError as RedisAway

from paas.accounts import throttle
from paas.accounts.models import RecoveryCode
from paas.accounts.services import (
    accept_second_step,
    begin_two_factor,
    confirm_two_factor,
    disable_two_factor,
    renew_recovery_codes,
    reset_two_factor,
)
from paas.accounts.services.two_factor import has_two_factor
from paas.accounts.throttle import TooManyAttempts, delay_seconds
from paas.core.models import AuditEvent
from runtime.errors import Conflict, InvalidInput
from tests.factories import code_of, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice():
    return make_user("alice")


@pytest.fixture
def codes(alice):
    """Two-factor authentication is on; the recovery codes."""
    return confirm_two_factor(alice, code_of(begin_two_factor(alice, by=alice), -1))


def test_it_counts_only_after_a_code_was_shown(alice):
    row = begin_two_factor(alice, by=alice)
    with pytest.raises(InvalidInput):
        confirm_two_factor(alice, "000000" if code_of(row) != "000000" else "000001")
    assert not has_two_factor(alice)
    assert len(confirm_two_factor(alice, code_of(row))) == 10
    assert has_two_factor(alice)
    with pytest.raises(Conflict):
        begin_two_factor(alice, by=alice)


def test_its_secret_is_encrypted_in_the_database(alice):
    row = begin_two_factor(alice, by=alice)
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM accounts_twofactor")
        (stored,) = cursor.fetchone()
    assert row.secret not in stored


def test_no_code_is_taken_twice(alice, codes):
    code = code_of(alice.two_factor)
    assert accept_second_step(alice, code) == "code"
    assert accept_second_step(alice, code) is None
    assert accept_second_step(alice, code_of(alice.two_factor, -1)) is None
    assert accept_second_step(alice, code_of(alice.two_factor, 1)) == "code"


@pytest.mark.parametrize("code", ["", "12345", "abcdef", "１２３４５６", "1234567"])
def test_what_is_no_code_is_refused(alice, codes, code):
    assert accept_second_step(alice, code) is None


def test_a_recovery_code_works_once_however_it_is_written(alice, codes):
    assert codes[0] not in str(RecoveryCode.objects.values())
    assert accept_second_step(alice, codes[0].upper().replace("-", " ")) == "recovery code"
    assert accept_second_step(alice, codes[0]) is None
    assert alice.recovery_codes.count() == 9


def test_new_recovery_codes_void_the_old_ones(alice, codes):
    fresh = renew_recovery_codes(alice, proof="correct horse battery")
    assert accept_second_step(alice, codes[1]) is None
    assert accept_second_step(alice, fresh[1]) == "recovery code"


def test_it_is_switched_off_with_the_password_or_a_code_and_nothing_else(alice, codes):
    with pytest.raises(InvalidInput):
        disable_two_factor(alice, proof="wrong")
    disable_two_factor(alice, proof=code_of(alice.two_factor))
    assert not has_two_factor(alice)
    assert not RecoveryCode.objects.exists()


def test_an_admin_can_reset_it_and_that_is_recorded(alice, codes):
    root = make_user("root", is_admin=True)
    reset_two_factor(alice, by=root)
    event = AuditEvent.objects.get(action="two_factor.off")
    assert (event.actor, event.detail["email"], event.after) == (root, "alice@example.com", {"two_factor": False})
    assert not has_two_factor(alice)


def test_the_delay_doubles_with_each_attempt_and_has_an_end():
    rule = throttle.RULES["account"]
    delays = [delay_seconds(rule, attempts) for attempts in (1, 5, 6, 7, 8, 50, 5000)]
    assert delays == [0, 0, 2, 4, 8, 300, 300]


def test_guessing_one_account_is_slowed_down_from_every_address():
    for number in range(6):
        throttle.attempt(account="alice@example.com", address=f"192.0.2.{number}")
    with pytest.raises(TooManyAttempts) as refusal:
        throttle.attempt(account="Alice@example.com ", address="192.0.2.99")
    assert "2 seconds" in refusal.value.hint
    throttle.attempt(account="bob@example.com", address="192.0.2.99")


def test_guessing_from_one_address_is_slowed_down_for_every_account():
    for number in range(21):
        throttle.attempt(account=f"user{number}@example.com", address="192.0.2.1")
    with pytest.raises(TooManyAttempts):
        throttle.attempt(account="other@example.com", address="192.0.2.1")


def test_a_right_password_starts_the_accounts_count_anew_but_not_that_of_the_address():
    for _ in range(30):
        throttle.attempt(account="alice@example.com")
        throttle.forgive(account="alice@example.com")
    for number in range(21):
        throttle.attempt(account=f"user{number}@example.com", address="192.0.2.1")
        throttle.attempt(account="mine@example.com")
        throttle.forgive(account="mine@example.com")
    with pytest.raises(TooManyAttempts):
        throttle.attempt(account="mine@example.com", address="192.0.2.1")


def test_many_guesses_at_the_same_moment_are_held_up_like_many_in_a_row():
    def got_through(_number: int) -> bool:
        try:
            throttle.attempt(account="alice@example.com")
        except TooManyAttempts:
            return False
        return True

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(got_through, range(100))) <= throttle.RULES["account"].free + 1


def test_without_redis_an_operator_still_gets_in(monkeypatch):
    class Away:
        def __getattr__(self, name):
            raise RedisAway("away")

    monkeypatch.setattr("paas.core.redis.client", Away)
    throttle.attempt(account="alice@example.com", address="192.0.2.1")
    throttle.forgive(account="alice@example.com", address="192.0.2.1")
