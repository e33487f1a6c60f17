"""What bin/up says while it works: one line a step, with what came out of it and how long it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from runtime.errors import Failure


class Step:
    def __init__(self) -> None:
        self.outcome = "done"

    def done(self, outcome: str) -> None:
        self.outcome = outcome


def line(name: str, outcome: str, seconds: float) -> str:
    return f"  {name:<13} {outcome:<52} {seconds:>6.1f} s"


@contextmanager
def step(name: str) -> Iterator[Step]:
    """Prints the line when the block ends; a terminal shows the name while it runs."""
    began = time.monotonic()
    on_terminal = sys.stdout.isatty()
    if on_terminal:
        sys.stdout.write(f"  {name:<13} …")
        sys.stdout.flush()
    current = Step()
    try:
        yield current
    except BaseException:
        if on_terminal:
            say()
        raise
    if on_terminal:
        sys.stdout.write("\r")
    say(line(name, current.outcome, time.monotonic() - began))


def say(text: str = "") -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def complain(failure: Failure) -> None:
    for text in (failure.message, failure.hint):
        for each in text.splitlines():
            sys.stderr.write(f" !     {each}\n")
