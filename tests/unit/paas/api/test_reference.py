"""docs/reference/api.md has every endpoint, and none that isn't there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from tests.unit.paas.api.test_matrix import endpoints

PAGE = Path(settings.BASE_DIR) / "docs" / "reference" / "api.md"
SPAN = re.compile(r"`(?:(GET|POST|PUT|PATCH|DELETE) )?(/[^\s`?]*|…[^\s`?]*)[^`]*`")
# What stands for an app in a path is called :app there, everything else by its own name.
NAMES = {"identity": "app"}


def in_words(path: str) -> str:
    return re.sub(r"\{(?:\w+:)?(\w+)\}", lambda found: f":{NAMES.get(found[1], found[1])}", path)


def plain(path: str) -> str:
    """Whatever its arguments are called."""
    return re.sub(r":\w+", ":", path)


def documented() -> Iterator[tuple[str, str]]:
    """(method, path) of the first column of its tables. `…` is the path before it, `…/more` that with more behind it or
    with another end."""
    for line in PAGE.read_text().splitlines():
        method = path = ""
        for found in SPAN.finditer(line.split(" | ")[0]) if line.startswith("| `") else ():
            method, written = found[1] or method, found[2]
            before, path = path, written
            if written.startswith("…"):
                path = before + written[1:]
                if written != "…":
                    yield method, plain(before.rpartition("/")[0] + written[1:])
            yield method, plain(path)


def there() -> Iterator[tuple[str, str]]:
    for method, path, operation in endpoints():
        if operation.include_in_schema:
            yield method, in_words(path)


def test_every_endpoint_is_in_the_reference():
    known = set(documented())
    missing = [f"{method} {path}" for method, path in there() if (method, plain(path)) not in known]
    assert not missing, "\n".join(missing)


def test_the_reference_has_no_methods_that_are_not_there():
    real = {(method, plain(path)) for method, path in there()}
    paths = {path for _, path in real}
    gone = [f"{method} {path}" for method, path in documented() if (method, path) not in real and path in paths]
    assert not gone, "\n".join(gone)
