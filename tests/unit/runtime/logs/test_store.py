"""Segments: what is written is read, what is too much goes, and a crash costs nothing."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.errors import InvalidInput
from runtime.logs.read import BEGINNING, AppLogReader, Filter, parse_moment
from runtime.logs.record import Line, Position, Source
from runtime.logs.store import AppLog, Limits, LogStore, Mark, segments, sizes

BEGAN = datetime(2026, 11, 23, 16, 0, tzinfo=UTC)
SMALL = Limits(segment_bytes=2000)


def lines(texts: Sequence[str], *, start: int = 0, **fields: object) -> list[Line]:
    values: dict[str, object] = {"source": Source.APP, "name": "web.1", "release": 1, "origin": "c0ffee000000"} | fields
    return [
        Line(at=BEGAN + timedelta(seconds=start + n), text=text, **values)  # type: ignore[arg-type]
        for n, text in enumerate(texts)
    ]


def numbered(first: int, last: int) -> list[Line]:
    return lines([f"line {n}" for n in range(first, last)], start=first)


def texts(found: Sequence[Line]) -> list[str]:
    return [line.text for line in found]


def filled(root: Path, count: int = 200, limits: Limits = SMALL) -> AppLogReader:
    store = LogStore(root, limits)
    for first in range(0, count, 10):
        store.append("app", numbered(first, min(first + 10, count)))
    return AppLogReader(root / "app")


def everything(reader: AppLogReader) -> list[str]:
    return texts(list(reader.everything(Filter())))


def test_lines_are_kept_over_many_segments_and_read_in_their_order(tmp_path):
    reader = filled(tmp_path)
    assert len(segments(tmp_path / "app")) > 3
    assert everything(reader) == [f"line {n}" for n in range(200)]


def test_pages_go_from_the_newest_to_the_oldest_without_gap_or_double(tmp_path):
    reader = filled(tmp_path)
    found: list[str] = []
    before = None
    while True:
        page = reader.newest(Filter(), 30, before=before)
        found = texts(page.lines) + found
        before = page.older
        if before is None:
            break
    assert found == [f"line {n}" for n in range(200)]


def test_a_tail_goes_on_where_it_was_through_a_rotation(tmp_path):
    store = LogStore(tmp_path, SMALL)
    reader = AppLogReader(tmp_path / "app")
    position, found = reader.end(), []
    assert position == BEGINNING
    for first in range(0, 120, 7):
        store.append("app", numbered(first, first + 7))
        got, position = reader.after(position, Filter(), 1000)
        found += texts(got)
    assert found == [f"line {n}" for n in range(126)]
    assert reader.after(reader.end(), Filter(), 10)[0] == []


def test_a_store_that_is_opened_again_knows_what_each_origin_has_said(tmp_path):
    store = LogStore(tmp_path, SMALL)
    store.append("app", numbered(0, 100))
    store.append("app", [*lines(["a", "b"], start=5, origin="bbbbbbbbbbbb")])
    same = BEGAN + timedelta(seconds=300)
    store.append("app", [Line(same, Source.APP, "web.2", text, 1, "cccccccccccc") for text in "xyz"])
    store.append("app", [Line(same, Source.ROUTER, "router", "at=info", origin="router.abc-77")])
    again = LogStore(tmp_path, SMALL).app("app")
    assert again.mark("c0ffee000000") == Mark(numbered(99, 100)[0].stamp, 1)
    assert again.mark("bbbbbbbbbbbb") == Mark(lines(["b"], start=6)[0].stamp, 1)
    assert again.mark("cccccccccccc").count == 3
    assert again.mark("router") == Mark("abc-77", 1)
    assert again.mark("unknown") == Mark()


def test_half_a_line_that_a_crash_left_is_cut_off(tmp_path):
    LogStore(tmp_path).append("app", numbered(0, 2))
    with (tmp_path / "app" / "00000001.log").open("ab") as file:
        file.write(b"2026-11-23T16:00:09.000000+00:00 app[web.1] v1 c0ffee00000")
    assert everything(AppLogReader(tmp_path / "app")) == ["line 0", "line 1"]
    LogStore(tmp_path).append("app", numbered(2, 3))
    assert everything(AppLogReader(tmp_path / "app")) == ["line 0", "line 1", "line 2"]


def test_a_crash_between_packing_and_removing_doubles_nothing(tmp_path):
    store = LogStore(tmp_path)
    store.append("app", numbered(0, 3))
    content = (tmp_path / "app" / "00000001.log").read_bytes()
    store.app("app").rotate()
    (tmp_path / "app" / "00000001.log").write_bytes(content)
    assert everything(AppLogReader(tmp_path / "app")) == ["line 0", "line 1", "line 2"]
    LogStore(tmp_path).append("app", numbered(3, 4))
    assert everything(AppLogReader(tmp_path / "app")) == ["line 0", "line 1", "line 2", "line 3"]


def test_numbers_of_segments_are_not_used_again_when_all_have_gone(tmp_path):
    store = LogStore(tmp_path)
    store.append("app", numbered(0, 3))
    store.app("app").rotate()
    store.tidy(now=BEGAN.timestamp() + 40 * 24 * 3600)
    assert segments(tmp_path / "app") == []
    LogStore(tmp_path).append("app", numbered(3, 4))
    assert [each.number for each in segments(tmp_path / "app")] == [2]


def test_an_app_that_writes_much_loses_its_oldest_lines(tmp_path):
    limits = Limits(segment_bytes=2000, app_bytes=3000)
    reader = filled(tmp_path, 1000, limits)
    kept = everything(reader)
    assert kept[-1] == "line 999"
    assert 0 < len(kept) < 1000
    assert sizes(tmp_path)["app"] <= 3000 + 2000


def test_all_apps_together_have_a_budget_and_the_largest_pays(tmp_path):
    store = LogStore(tmp_path, Limits(segment_bytes=2000, total_bytes=4000))
    store.append("quiet", numbered(0, 3))
    for first in range(0, 1000, 10):
        store.append("loud", numbered(first, first + 10))
    assert everything(AppLogReader(tmp_path / "quiet")) == ["line 0", "line 1", "line 2"]
    assert sum(sizes(tmp_path).values()) <= 4000 + 2000


def test_old_parts_go_and_an_app_that_is_gone_leaves_nothing(tmp_path):
    store = LogStore(tmp_path, Limits(segment_bytes=500))
    store.append("app", numbered(0, 10))
    store.append("app", lines(["fresh"], start=39 * 24 * 3600))
    store.tidy(now=BEGAN.timestamp() + 40 * 24 * 3600)
    assert everything(AppLogReader(tmp_path / "app")) == ["fresh"]
    store.forget("app")
    assert not (tmp_path / "app").exists()


def test_a_quiet_apps_segment_is_full_after_a_day(tmp_path):
    store = LogStore(tmp_path)
    store.append("app", lines(["yesterday"]))  # its time is long ago
    again = LogStore(tmp_path)
    again.append("app", lines(["today"], start=2 * 24 * 3600))
    again.tidy(now=BEGAN.timestamp() + 3 * 24 * 3600)
    assert [each.is_packed for each in segments(tmp_path / "app")] == [True]


def test_a_full_disk_loses_lines_and_the_log_says_how_many(tmp_path, monkeypatch: pytest.MonkeyPatch):
    store = LogStore(tmp_path)
    store.append("app", numbered(0, 1))
    real = os.write

    def write_half(descriptor: int, data: bytes) -> int:
        real(descriptor, bytes(data[: len(data) // 2]))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write_half)
    store.append("app", numbered(1, 4))
    monkeypatch.setattr(os, "write", real)
    store.append("app", numbered(4, 5))
    assert everything(AppLogReader(tmp_path / "app")) == [
        "line 0", "3 lines were lost: the disk took nothing more.", "line 4",
    ]  # fmt: skip
    assert AppLog(tmp_path / "app", Limits()).mark("c0ffee000000").stamp == numbered(4, 5)[0].stamp


@pytest.fixture
def mixed(tmp_path) -> AppLogReader:
    store = LogStore(tmp_path, SMALL)
    store.append(
        "app",
        [
            *lines(["Boot", "GET /ok", "Crash: ValueError"], name="web.1", release=1),
            *lines(["GET /other", "get /ök"], start=10, name="web.2", release=2),
            *lines(["working"], start=20, name="worker.1", release=2),
            *lines(["SECRET=1"], start=25, name="run.7", release=2),
            *lines(['method=GET path="/ok"'], start=30, source=Source.ROUTER, name="router", release=0),
            *lines(["v2 is live"], start=40, source=Source.PLATFORM, name="release", release=2),
            *lines(["websocket"], start=50, name="webhook.1", release=2),
        ],
    )
    return AppLogReader(tmp_path / "app")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(process="web"), ["Boot", "GET /ok", "Crash: ValueError", "GET /other", "get /ök"]),
        (Filter(process="web.2"), ["GET /other", "get /ök"]),
        (Filter(sources=frozenset({Source.ROUTER})), ['method=GET path="/ok"']),
        (Filter(sources=frozenset({Source.PLATFORM})), ["v2 is live"]),
        (Filter(sources=frozenset({Source.PLATFORM, Source.ROUTER})), ['method=GET path="/ok"', "v2 is live"]),
        (Filter(release=1), ["Boot", "GET /ok", "Crash: ValueError"]),
        (Filter(text="get /o"), ["GET /ok", "GET /other"]),
        (Filter(text="/ÖK"), ["get /ök"]),
        (Filter(text="app[web"), []),
        (Filter(text=r"^get /\S+$", is_pattern=True), ["GET /ok", "GET /other", "get /ök"]),
        (Filter(text=r"value|live", is_pattern=True, release=2), ["v2 is live"]),
        (Filter(text=r"c0ffee", is_pattern=True), []),
        (
            Filter(since=BEGAN + timedelta(seconds=30), until=BEGAN + timedelta(seconds=40)),
            ['method=GET path="/ok"', "v2 is live"],
        ),
        (Filter(process="run", without=frozenset({"run"})), []),
        (Filter(text="SECRET", without=frozenset({"run"})), []),
    ],
)  # fmt: skip
def test_filters_find_the_same_by_page_and_by_tail(mixed: AppLogReader, wanted: Filter, expected: list[str]):
    wanted.check()
    assert texts(mixed.newest(wanted, 100).lines) == expected
    assert texts(mixed.after(BEGINNING, wanted, 100)[0]) == expected
    assert Filter.load(wanted.dump()) == wanted


WORDS = st.sampled_from(["GET", "get", "a.b", "x", "(", "ü", "value", " "])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["web.1", "web.2", "worker.1"]), st.integers(1, 3), WORDS, WORDS), max_size=60),
    st.sampled_from(["", "web", "web.1", "worker"]),
    st.sampled_from([0, 1, 2]),
    WORDS | st.just(""),
    st.integers(1, 20),
)
def test_any_filter_finds_what_a_plain_loop_finds(tmp_path_factory, said, process, release, text, limit):
    root = tmp_path_factory.mktemp("logs")
    store = LogStore(root, Limits(segment_bytes=600))
    kept = [
        Line(BEGAN + timedelta(seconds=n), Source.APP, name, f"{first}{second}", version, "c0ffee000000")
        for n, (name, version, first, second) in enumerate(said)
    ]
    for line in kept:
        store.append("app", [line])
    expected = [
        line.text
        for line in kept
        if (not process or line.name == process or line.name.startswith(process + "."))
        and (not release or line.release == release)
        and text.lower() in line.text.lower()
    ]
    wanted = Filter(process=process, release=release, text=text)
    reader = AppLogReader(root / "app")
    page = reader.newest(wanted, limit)
    assert texts(page.lines) == expected[-limit:]
    assert (page.older is not None) == (len(expected) > limit)
    assert texts(list(reader.everything(wanted))) == expected


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(text="(", is_pattern=True),
        Filter(text="a\nb"),
        Filter(text="x" * 300),
        Filter(process="web;rm"),
        Filter(process="web.one"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_in_words(wanted: Filter):
    with pytest.raises(InvalidInput):
        wanted.check()


def test_a_pattern_that_takes_for_ever_is_stopped(tmp_path):
    store = LogStore(tmp_path)
    store.append("app", lines(["a" * 5000 + "!"] * 50))
    wanted = Filter(text=r"^(a|a|aa)+$", is_pattern=True)
    began = time.monotonic()
    with suppress(InvalidInput):  # grep gives up by itself where it can
        assert AppLogReader(tmp_path / "app").newest(wanted, 10).lines == []
    assert time.monotonic() - began < 10


def test_moments_are_read_as_people_write_them():
    now = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
    assert parse_moment("30m", now=now) == now - timedelta(minutes=30)
    assert parse_moment("2026-11-23", now=now) == datetime(2026, 11, 23, tzinfo=UTC)
    assert parse_moment("2026-11-23T16:00+01:00", now=now) == datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
    for nonsense in ("yesterday", "m", "99999999d", "2026-13-01"):
        with pytest.raises(InvalidInput):
            parse_moment(nonsense, now=now)


def test_a_position_in_a_segment_that_has_gone_goes_on_with_the_next(tmp_path):
    reader = filled(tmp_path)
    segments(tmp_path / "app")[0].path.unlink()
    found, _ = reader.after(Position(1, 0), Filter(), 1)
    assert found[0].text.startswith("line ")
