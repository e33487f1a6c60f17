"""What takes long to find out, found out once an hour and remembered: folders are walked, never for a page."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.db import connection
from redis import RedisError

from paas.convergence.cleanup import expired_everywhere
from paas.convergence.storage import storage_by_app, storage_by_kind
from paas.core import redis
from paas.wiring import engine, registry_host
from runtime.errors import EngineError

log = structlog.get_logger()
KEY = "paas:storage"


@dataclass(frozen=True, slots=True)
class Measured:
    """Sizes in bytes, as they were `at` (Unix time)."""

    at: float
    seconds: float
    kinds: dict[str, int]
    apps: list[dict[str, Any]]  # as paas.convergence.storage.AppStorage
    expired_images: int  # what a cleanup would give up first
    expired_bytes: int

    @property
    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)


def measure() -> Measured | None:
    """Walk through everything and remember it. None when somebody else is at it."""
    with redis.lease("measure") as held:
        if held is None:
            return None
        began = time.monotonic()
        expired = expired_everywhere()
        found = Measured(
            at=time.time(),
            seconds=0.0,
            kinds={**storage_by_kind(), "database": _database(), "redis": _folder("redis"), **_engine()},
            apps=[asdict(each) | {"own_bytes": each.own_bytes} for each in storage_by_app()],
            expired_images=len(expired),
            expired_bytes=sum(each.size_bytes for each in expired),
        )
        values = asdict(found) | {"seconds": round(time.monotonic() - began, 2)}
        redis.client().set(KEY, json.dumps(values))
        log.info("storage_measured", seconds=values["seconds"])
        return Measured(**values)


def measured() -> Measured | None:
    """The last measure; None before the first, or without Redis."""
    try:
        text = redis.client().get(KEY)
    except RedisError:
        return None
    return Measured(**json.loads(text)) if isinstance(text, str) else None


def _database() -> int:
    if not settings.ENV.database_url:
        files = settings.ENV.home / "paas.sqlite3"
        return sum(_size(files.with_name(files.name + end)) for end in ("", "-wal", "-shm"))
    if urlsplit(settings.ENV.database_url).hostname not in {None, "", "localhost", "127.0.0.1", "::1"}:
        return 0  # on another machine
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def _engine() -> dict[str, int]:
    """Our images in the engine. Layers that several share are counted once for each: it is never less than that."""
    try:
        images = engine().images(f"{registry_host()}/")
    except EngineError:
        return {}
    return {"engine": sum(image.size_bytes for image in images)}


def _folder(name: str) -> int:
    total = 0
    for folder, _, files in os.walk(settings.ENV.home / name):
        total += sum(_size(Path(folder) / file) for file in files)
    return total


def _size(file: Path) -> int:
    try:
        return file.stat().st_blocks * 512
    except OSError:
        return 0
