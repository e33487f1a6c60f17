"""The agent's part: fills the store from containers, from the router, and with what the platform says of its apps.

Nothing of Django is imported here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import redis

from paas.env import Env
from runtime.engine.api import Engine
from runtime.logs.collector import Collector
from runtime.logs.record import NAME, Line, Source
from runtime.logs.store import Limits, LogStore

log = logging.getLogger(__name__)

PLATFORM = "paas:app-log"  # written by paas.core.applog
COLLECTED_SECONDS = 600


class LogCollecting:
    def __init__(self, env: Env, engine: Engine, client: redis.Redis) -> None:
        self._redis = client
        limits = Limits(
            app_bytes=env.log_app_bytes, total_bytes=env.log_total_bytes, keep_seconds=env.log_days * 24 * 3600
        )
        self._collector = Collector(
            engine,
            LogStore(env.app_logs, limits),
            home=str(env.home),
            access_log=env.home / "router" / "logs" / "access.json",
            on_collected=self._tell,
        )

    def start(self) -> None:
        self._collector.start()
        threading.Thread(target=self._hear, daemon=True, name="logs platform").start()

    def stop(self) -> None:
        self._collector.stop()

    def look(self) -> None:
        self._collector.look()

    def _tell(self, container_id: str) -> None:
        """Whoever wants to remove it may do so now."""
        key = f"paas:signal:collected:{container_id}"
        try:
            pipe = self._redis.pipeline(transaction=False)
            pipe.xadd(key, {"": ""}, maxlen=1, approximate=False)
            pipe.expire(key, COLLECTED_SECONDS)
            pipe.execute()
        except redis.RedisError:
            pass  # they don't wait for long

    def _hear(self) -> None:
        """For ever. An entry stays in Redis until it is on the disk."""
        seen = "0"
        while True:
            try:
                answer: Any = self._redis.xread({PLATFORM: seen}, count=500, block=5000)
                streams = answer.items() if isinstance(answer, Mapping) else answer or ()
                for _key, entries in streams:
                    for entry_id, fields in entries:
                        seen = entry_id.decode()
                        self._take(seen, {name.decode(): value.decode() for name, value in fields.items()})
            except redis.RedisError as exc:
                log.warning("platform_lines_late: %s", exc)
                threading.Event().wait(1)

    def _take(self, entry_id: str, fields: Mapping[str, str]) -> None:
        def done() -> None:
            try:
                self._redis.xdel(PLATFORM, entry_id)
            except redis.RedisError:
                pass  # told again after a restart, and known by its id

        app_id = fields.get("app", "")
        if "forget" in fields:
            self._collector.forget(app_id, done)
            return
        name = fields.get("name", "")
        line = Line(
            at=datetime.fromtimestamp(int(entry_id.partition("-")[0]) / 1000, tz=UTC),
            source=Source.PLATFORM,
            name=name if NAME.fullmatch(name) else "api",
            text=fields.get("text", ""),
            release=int(fields.get("release") or 0),
            origin=f"platform.{entry_id}",
        )
        self._collector.say(app_id, fields.get("app_name", ""), line, done)
