"""Which URLs we take, and how they are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import InvalidInput
from runtime.outbound.urls import Target, parse_url, shown_url


def test_a_url_is_taken_apart():
    assert parse_url("https://me:p%40ss@hooks.example.com/a/b?c=d") == Target(
        "https", "hooks.example.com", 443, "/a/b?c=d", "me", "p@ss"
    )
    assert parse_url("http://[2606:2800::1]:8080").port == 8080
    assert parse_url("syslog+tls://logs.example.com", ("syslog+tls",)).port == 6514


@pytest.mark.parametrize(
    "url",
    [
        "", "hooks.example.com", "ftp://example.com/", "https://", "https:///path", "https://exa mple.com/",
        "https://example.com:0/", "https://example.com:70000/", "https://example.com/\r\nHost: other", "file:///etc/passwd",
        "https://example.com/#part", "https://bücher.example/", "https://example.com/" + "a" * 2000,
        "javascript:alert(1)", "https://[::1/", "https://a\\b/",
    ],
)  # fmt: skip
def test_what_is_no_url_for_us_is_refused(url):
    with pytest.raises(InvalidInput) as caught:
        parse_url(url)
    assert caught.value.id == "invalid_url"


def test_a_password_is_not_shown():
    assert shown_url("https://me:secret@logs.example.com/x") == "https://me:••••••@logs.example.com/x"
    assert shown_url("https://logs.example.com/x") == "https://logs.example.com/x"


@given(st.text(max_size=60))
def test_any_text_is_taken_or_refused(text):
    try:
        target = parse_url("https://" + text)
    except InvalidInput:
        return
    assert target.host
    assert 0 < target.port < 65536
