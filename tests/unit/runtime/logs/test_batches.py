"""Reading on from a position: nothing is missed, nothing comes twice, also while the log is packed and cut."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.logs import batch
from runtime.logs.batch import BatchReader
from runtime.logs.read import BEGINNING
from runtime.logs.record import Position
from runtime.logs.store import LogStore, segments
from tests.unit.runtime.logs.test_store import BEGAN, SMALL, filled, numbered, texts


def drained(reader: BatchReader, position: Position = BEGINNING) -> tuple[list[str], Position]:
    found: list[str] = []
    while (each := reader.after(position)) is not None:
        assert not each.has_gap
        found += texts(each.lines)
        position = each.end
    return found, position


def test_all_lines_come_once_and_in_order(tmp_path):
    filled(tmp_path)
    found, end = drained(BatchReader(tmp_path / "app"))
    assert found == [f"line {n}" for n in range(200)]
    assert BatchReader(tmp_path / "app").after(end) is None


def test_a_batch_can_be_read_again_after_the_log_was_packed(tmp_path):
    store = LogStore(tmp_path, SMALL)
    store.append("app", numbered(0, 10))
    reader = BatchReader(tmp_path / "app")
    first = reader.after(BEGINNING)
    store.append("app", numbered(10, 200))
    assert segments(tmp_path / "app")[0].is_packed
    again = BatchReader(tmp_path / "app").after(first.start, until=first.end)
    assert texts(again.lines) == texts(first.lines)


def test_a_reader_starts_at_a_moment(tmp_path):
    filled(tmp_path)
    start = BatchReader(tmp_path / "app").start(BEGAN + timedelta(seconds=150))
    found, _ = drained(BatchReader(tmp_path / "app"), start)
    assert "line 150" in found
    assert len(found) < 100


def test_a_part_that_was_deleted_is_noticed(tmp_path):
    filled(tmp_path)
    oldest, *_ = segments(tmp_path / "app")
    reader = BatchReader(tmp_path / "app")
    position = reader.after(BEGINNING).end
    oldest.path.unlink()
    if position.segment == oldest.number:
        assert reader.after(position).has_gap


def test_a_batch_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "MAX_LINES", 7)
    filled(tmp_path)
    first = BatchReader(tmp_path / "app").after(BEGINNING)
    assert len(first.lines) == 7


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.integers(min_value=1, max_value=60), min_size=1, max_size=8))
def test_whoever_reads_while_it_is_written_misses_nothing(tmp_path_factory, amounts):
    root: Path = tmp_path_factory.mktemp("logs")
    store, reader = LogStore(root, SMALL), BatchReader(root / "app")
    found: list[str] = []
    position, written = BEGINNING, 0
    for amount in amounts:
        store.append("app", numbered(written, written + amount))
        written += amount
        each = reader.after(position)
        if each is not None:
            found += texts(each.lines)
            position = each.end
    more, _ = drained(reader, position)
    assert found + more == [f"line {n}" for n in range(written)]
