"""`manage.py agent`: engine events become "look now"; a sweep looks anyway every 30 s."""

from __future__ import annotations

import signal
import threading
import time
from datetime import UTC, datetime
from typing import Any

import structlog
from django.core.management.base import BaseCommand
from django.db import close_old_connections
from redis import RedisError

from paas.convergence import services
from paas.core.queue import send
from paas.core.redis import client
from paas.wiring import engine
from runtime.errors import EngineError
from runtime.reconcile.spec import APP_ID, HOME, KIND

log = structlog.get_logger()
SWEEP_SECONDS = 30
TIDY_SECONDS = 24 * 3600
INTERESTING = {"die", "oom", "destroy", "health_status"}
HEARTBEAT = "paas:agent"


class Command(BaseCommand):
    help = "Watch the engine and keep what runs in line with what should run."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        threading.Thread(target=self._watch, daemon=True, name="engine events").start()
        tidy_at = time.monotonic() + TIDY_SECONDS
        while not stop.is_set():
            self._sweep()
            if time.monotonic() >= tidy_at:
                tidy_at = time.monotonic() + TIDY_SECONDS
                send("convergence.tidy")
            for _ in range(SWEEP_SECONDS // 5):
                self._beat()
                if stop.wait(5):
                    break

    def _sweep(self) -> None:
        close_old_connections()
        try:
            services.sweep()
        except EngineError as exc:
            log.warning("sweep_failed", error=exc.id, message=exc.message)
        except Exception:
            log.exception("sweep_failed")

    def _beat(self) -> None:
        try:
            client().set(HEARTBEAT, int(time.time()), ex=60)
        except RedisError:
            pass  # whoever asks for the heartbeat learns from its absence

    def _watch(self) -> None:
        """For ever: the stream ends when the engine goes away; then look at everything once it is back."""
        seen = datetime.now(tz=UTC)
        while True:
            try:
                for event in engine().events(since=seen, label=HOME):
                    seen = event.at
                    if (
                        event.action in INTERESTING
                        and services.is_ours(event.labels)
                        and event.labels.get(KIND) == "instance"
                    ):
                        send("convergence.converge", event.labels[APP_ID])
            except EngineError as exc:
                log.warning("engine_events_lost", message=exc.message)
            except Exception:
                log.exception("engine_events_lost")
            time.sleep(1)
