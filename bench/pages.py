"""How long the server takes for each page of the dashboard, and for a sweep, on a full platform.

    .venv/bin/python -m bench.pages [--apps 200] [--history 1000] [--rounds 15] [--limit MS]

Fills a scratch home (`bench/world.py`) and asks for every address of the URL table, so that new pages come in by
themselves; those that only take forms are left out. With --limit it exits with 1 when a page takes more processor time
than that, or a sweep more than a second: other work on the machine does not count. Downloads may take their time.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import django
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, get_resolver

SWEEP_LIMIT_MS = 1000.0
VALUE = re.compile(r"<(?:\w+:)?(\w+)>")


@dataclass(frozen=True, slots=True)
class Timing:
    what: str
    status: int
    queries: int
    milliseconds: Sequence[float]
    cpu_milliseconds: float  # what it takes on a machine that has nothing else to do

    @property
    def median(self) -> float:
        return statistics.median(self.milliseconds)

    @property
    def p95(self) -> float:
        return sorted(self.milliseconds)[round(0.95 * (len(self.milliseconds) - 1))]

    def __str__(self) -> str:
        milliseconds = f"{self.median:9.1f} {self.p95:7.1f} {self.cpu_milliseconds:7.1f}"
        return f"{self.what:52} {self.status or '':6} {self.queries:7} {milliseconds}"


def prepare(home: Path) -> None:
    """Django on an empty database in `home`, whatever platform the environment is about."""
    for name in [name for name in os.environ if name.startswith("PAAS_") or name in {"DATABASE_URL", "REDIS_URL"}]:
        del os.environ[name]
    os.environ |= {"PAAS_HOME": str(home), "DJANGO_SETTINGS_MODULE": "paas.settings"}
    django.setup()
    logging.getLogger().setLevel(logging.ERROR)
    call_command("migrate", verbosity=0)


def routes(patterns: Sequence[URLPattern | URLResolver], before: str = "/") -> Iterator[str]:
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        else:
            yield route


def measure(what: str, call: Callable[[], int], rounds: int) -> Timing:
    with CaptureQueriesContext(connection) as queries:
        status = call()
        count = len(queries)
    call()
    taken = []
    cpu = time.process_time()
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        taken.append((time.perf_counter() - began) * 1000)
    return Timing(what, status, count, taken, (time.process_time() - cpu) * 1000 / rounds)


def get(client: Client, path: str) -> int:
    answer = client.get(path)
    for _ in answer if answer.streaming else ():
        pass
    answer.close()
    return answer.status_code


def pages(client: Client, values: Mapping[str, str], rounds: int) -> tuple[list[Timing], list[str]]:
    """What was measured, and the routes that want a value which nobody has."""
    found: list[Timing] = []
    left: list[str] = []
    for route in routes(get_resolver().url_patterns):
        if any(name not in values for name in VALUE.findall(route)):
            left.append(route)
            continue
        path = VALUE.sub(lambda match: values[match[1]], route)
        answer = client.get(path)
        answer.close()
        if answer.status_code != 405:  # that takes forms
            what = f"{route} (download)" if "attachment" in answer.get("Content-Disposition", "") else route
            found.append(measure(what, lambda path=path: get(client, path), rounds))
    return found, left


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apps", type=int, default=200)
    parser.add_argument("--history", type=int, default=1000, help="releases, and as many builds, of each of three apps")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--limit", type=float, default=0, help="ms")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-pages-") as home:
        prepare(Path(home))
        from bench import world
        from paas.convergence.services import sweep

        with world.drivers() as engine:
            made = world.fill(engine, apps=options.apps, history=options.history)
            client = Client()
            client.force_login(made.user)
            found, left = pages(client, made.values, options.rounds)
            swept = measure("(sweep)", lambda: sweep() or 0, options.rounds)
        connection.close()
    print(", ".join(f"{count} {what}" for what, count in made.sizes.items()))
    print(f"{'page':52} {'status':6} {'queries':>7} {'median ms':>9} {'95 %':>7} {'CPU ms':>7}")
    for timing in [*sorted(found, key=lambda timing: -timing.median), swept]:
        print(timing)
    if left:
        print("Not asked for:", " ".join(left))
    if not options.limit:
        return 0
    slow = [timing for timing in found if timing.cpu_milliseconds > options.limit and "(download)" not in timing.what]
    return 1 if slow or swept.cpu_milliseconds > SWEEP_LIMIT_MS else 0


if __name__ == "__main__":
    sys.exit(main())
