"""Messages of syslog: one line is one message, whatever it says, and frames can be taken apart again."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.logs.record import Line, Source
from runtime.logs.syslog import framed, message, unframed

AT = datetime(2026, 11, 25, 16, 0, 0, 123456, tzinfo=UTC)
TOKEN = "d.73ea7440-270a-435a-a0ea-adf50b4e5f5a"
# RFC 5424, section 6: HEADER SP STRUCTURED-DATA [SP MSG]
RFC_5424 = re.compile(
    rb"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) - - (.*)",
    re.DOTALL,
)


def test_a_line_of_an_instance():
    line = Line(AT, Source.APP, "web.1", "Listening on 8080")
    assert message(line, host=TOKEN) == (
        b"<190>1 2026-11-25T16:00:00.123456+00:00 " + TOKEN.encode() + b" app web.1 - - Listening on 8080"
    )


def test_logplex_has_no_structured_data():
    line = Line(AT, Source.ROUTER, "router", "GET / 200")
    assert message(line, host="host", is_logplex=True) == (
        b"<158>1 2026-11-25T16:00:00.123456+00:00 host paas router - GET / 200"
    )


def test_a_receiver_of_all_apps_is_told_which():
    line = Line(AT, Source.PLATFORM, "api", "Scaled")
    assert b" hello api - - Scaled" in message(line, host=TOKEN, app_name="hello")


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_frames_can_be_taken_apart_again(messages):
    assert unframed(b"".join(map(framed, messages))) == messages


@given(st.binary(min_size=1, max_size=100), st.integers(min_value=1))
def test_half_a_frame_is_no_frame(data, cut):
    whole = framed(data)
    with pytest.raises(ValueError, match=r".+"):
        unframed(whole[: -(cut % len(data)) - 1])


@given(st.text(), st.text(min_size=1, max_size=300), st.sampled_from(Source))
def test_whatever_is_in_a_line_the_message_is_as_the_rfc_says(text, name, source):
    match = RFC_5424.fullmatch(message(Line(AT, source, name, text), host=TOKEN, app_name=name))
    assert match is not None
    assert match[6] == text.encode(errors="replace")
