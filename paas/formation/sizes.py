"""Sizes as people write them: `512M`, `1.5 GiB`, `unlimited`. M and MB are MiB here, as the engine takes them."""

from __future__ import annotations

import re

from runtime.errors import InvalidInput

UNITS = {"": 1024**2, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?) ?([kmgt]?)(?:i?b)?", re.IGNORECASE | re.ASCII)
UNLIMITED = ("unlimited", "none")


def parse_memory(text: str) -> int:
    """In bytes; a bare number is in MiB; 0 for `unlimited`. Raises `InvalidInput`."""
    given = text.strip()
    if given.lower() in UNLIMITED:
        return 0
    found = SIZE.fullmatch(given)
    if found is None or float(found[1]) == 0:
        raise InvalidInput(
            f"{text[:40]!r} is not an amount of memory.",
            hint="Write it like 512M or 1.5G, or choose: unlimited.",
            id="invalid_limit",
        )
    return int(float(found[1]) * UNITS[found[2].lower()])


def memory_text(size: int) -> str:
    """`512 MiB`, `1.5 GiB`; `unlimited` for 0."""
    if size == 0:
        return "unlimited"
    for factor, unit in ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
        if size >= factor:
            number = size / factor
            return f"{number:.2f}".rstrip("0").rstrip(".") + f" {unit}"
    return f"{size} bytes"
