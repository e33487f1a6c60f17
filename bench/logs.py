"""How fast an app's log is read: pages of 200 out of 100,000 lines, by several filters, and a reader that waits for news.

.venv/bin/python bench/logs.py [--lines N]    exits with 1 when a page takes more than 100 ms (the best of five)
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from runtime.logs.read import AppLogReader, Filter
from runtime.logs.record import Line, Source
from runtime.logs.store import LogStore, sizes

BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
LIMIT_SECONDS = 0.1
FILTERS = {
    "everything": Filter(),
    "one instance": Filter(process="web.1"),
    "a process that has said nothing": Filter(process="clock"),
    "the router, of one release's time": Filter(
        sources=frozenset({Source.ROUTER}), since=BEGAN + timedelta(hours=1), until=BEGAN + timedelta(hours=1, minutes=5)
    ),
    "an old release": Filter(release=2),
    "a frequent word": Filter(text="took"),
    "a rare word": Filter(text="path/77 "),
    "a word nobody said": Filter(text="nothing like it"),
    "a pattern": Filter(text=r"path/7\d+7 took 7", is_pattern=True),
}


def fill(root: Path, count: int) -> float:
    store, began = LogStore(root), time.perf_counter()
    for first in range(0, count, 200):
        store.append("app", [line(number) for number in range(first, min(first + 200, count))])
    return time.perf_counter() - began


def line(number: int) -> Line:
    at = BEGAN + timedelta(milliseconds=50 * number)
    if number % 3:
        text = f"GET /path/{number} took {number % 100} ms, and this is a line as long as most lines of a log are"
        return Line(at, Source.APP, f"web.{number % 2 + 1}", text, number // 10_000 + 1, "c0ffee000000")
    text = (
        f'at=info method=GET path="/path/{number}" host=shop.example request_id=f00 process=web.1 service=7ms status=200'
    )
    return Line(at, Source.ROUTER, "router", text, origin=f"router.abc-{number}")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=100_000)
    count = parser.parse_args().lines
    too_slow = False
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        seconds = fill(root, count)
        reader = AppLogReader(root / "app")
        print(
            f"{count:,} lines written in {seconds:.2f} s ({seconds / count * 1e6:.0f} µs a line), "
            f"{sizes(root)['app'] / 1e6:.1f} MB on the disk"
        )
        for name, wanted in FILTERS.items():
            times = []
            for _ in range(5):
                began = time.perf_counter()
                page = reader.newest(wanted, 200)
                times.append(time.perf_counter() - began)
            too_slow = too_slow or min(times) > LIMIT_SECONDS
            print(f"{min(times) * 1000:7.1f} ms  {name}: {len(page.lines)} lines")
        end, began = reader.end(), time.perf_counter()
        for _ in range(1000):
            reader.after(end, Filter(), 500)
        print(f"{(time.perf_counter() - began):7.3f} ms  a look that finds nothing new")
    return 1 if too_slow else 0


if __name__ == "__main__":
    sys.exit(main())
