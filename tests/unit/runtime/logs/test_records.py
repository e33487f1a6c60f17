"""One line of a log, as bytes and as people read it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.logs.record import MAX_TEXT_BYTES, Line, Position, Source, clean, dump, load

AT = datetime(2026, 11, 23, 16, 0, 0, 123456, tzinfo=UTC)
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,10}\.[0-9]{1,3}", fullmatch=True)


def test_a_line_reads_as_people_know_it():
    assert str(Line(AT, Source.APP, "web.1", "Listening", release=12)) == (
        "2026-11-23T16:00:00.123456+00:00 app[web.1]: Listening"
    )
    assert Line(AT, Source.ROUTER, "router", "at=info").label == "paas[router]"
    assert Line(AT, Source.PLATFORM, "api", "Restarted").label == "paas[api]"


@given(
    at=st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)),
    source=st.sampled_from([Source.APP, Source.PLATFORM]),
    name=NAMES,
    release=st.integers(0, 10**6),
    origin=st.from_regex(r"[0-9a-f]{12}", fullmatch=True),
    text=st.text(st.characters(exclude_categories=["Cs", "Cc"])),
)
def test_a_line_comes_back_as_it_was_kept(at: datetime, source: Source, name: str, release: int, origin: str, text: str):
    line = Line(at, source, name, text[:1000], release, origin)
    assert load(dump(line).removesuffix(b"\n")) == line


@given(st.text())
def test_whatever_an_app_writes_is_one_line_of_bounded_length(text: str):
    record = dump(Line(AT, Source.APP, "web.1", text))
    assert record.count(b"\n") == 1
    assert record.endswith(b"\n")
    assert len(record) < MAX_TEXT_BYTES + 200
    assert load(record[:-1]) is not None


def test_a_very_long_line_is_cut_and_says_so():
    line = load(dump(Line(AT, Source.APP, "web.1", "é" * 9000))[:-1])
    assert line is not None
    assert line.text.endswith("… (8,000 more bytes of this line are left out)")


def test_colours_stay_and_everything_else_that_moves_a_cursor_goes():
    assert clean("\x1b[31mred\x1b[0m \x1b[2J\x1b]0;title\x07plain\ttab") == "\x1b[31mred\x1b[0m plain\ttab"
    assert clean("50%\r60%\0\x08") == "50%\ufffd60%\ufffd\ufffd"
    assert Line(AT, Source.APP, "web.1", "\x1b[31mred\x1b[0m").plain == "red"


@pytest.mark.parametrize("record", [b"", b"no record", b"2026 app[web.1] v1 c0ffee text", b"\xff\xfe a b c d"])
def test_what_is_no_record_is_none(record: bytes):
    assert load(record) is None


@pytest.mark.parametrize("text", ["", "1", "1-", "a-b", "1-2-3", "٣-٤", "9" * 30 + "-1"])
def test_only_a_position_is_taken_for_one(text: str):
    assert Position.parse(text) is None
    assert Position.parse("3-14") == Position(3, 14)
