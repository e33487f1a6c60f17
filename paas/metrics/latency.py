"""Quantiles from a histogram with few buckets."""

from __future__ import annotations

from collections.abc import Sequence

# Upper bounds as the router has them (runtime/router/lua/router.lua); one more bucket holds the rest.
BOUNDS_MS = (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000)


def quantile(buckets: Sequence[int], share: float) -> float | None:
    """In ms, evenly spread within its bucket. None without requests; the last bound for what is beyond it."""
    total = sum(buckets)
    if not total:
        return None
    wanted, counted = share * total, 0
    for index, number in enumerate(buckets):
        if number and counted + number >= wanted:
            if index >= len(BOUNDS_MS):
                break
            low = BOUNDS_MS[index - 1] if index else 0
            return low + (BOUNDS_MS[index] - low) * max(0.0, wanted - counted) / number
        counted += number
    return float(BOUNDS_MS[-1])


def add(one: Sequence[int], other: Sequence[int]) -> list[int]:
    return [a + b for a, b in zip(one, other, strict=True)]
