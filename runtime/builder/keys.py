"""Keys of caches: everything that decides what a layer holds, in one hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from runtime.images.values import canonical_json


def cache_key(*parts: object) -> str:
    return hashlib.sha256(canonical_json(parts)).hexdigest()


def environment_key(repository: str, environment: Mapping[str, str]) -> str:
    """Changes with any value. Bound to the app's repository, and slow to guess from: keys are names of tags, which more
    people can read than config vars."""
    if not environment:
        return ""
    material = canonical_json(sorted(environment.items()))
    return hashlib.pbkdf2_hmac("sha256", material, repository.encode(), 20_000).hex()
