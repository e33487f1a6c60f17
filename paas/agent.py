"""`python -m paas.agent`: engine events become "look now"; every 30 s a sweep is asked for anyway, every 15 s it samples.

It decides nothing and knows no rows, so Django is not loaded: this process lives as long as the platform, and is small.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import redis
import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from paas import env as environment
from paas.logging import configure
from paas.logs.collecting import LogCollecting
from paas.logs.draining import make_draining
from paas.metrics.sampling import KEEP_ROUNDS, QUEUE, ROUND_SECONDS, Sampler, Watched
from runtime.engine.api import State
from runtime.engine.docker import DockerEngine
from runtime.errors import EngineError, PlatformError
from runtime.reconcile.spec import APP_ID, HOME, INDEX, INSTANCE, KIND, PROCESS
from runtime.router.admin import ask_traffic
from runtime.router.api import AppTraffic
from runtime.usage.cgroups import ContainerUsage
from runtime.usage.machine import machine_usage

log = structlog.get_logger()
SWEEP_SECONDS = 30
TIDY_SECONDS = 24 * 3600
MEASURE_SECONDS = 3600
CERTIFICATES_SECONDS = 600
BEAT_SECONDS = 5
HEARTBEAT = "paas:agent"
SETTLED_SECONDS = 1.0
LIST_SECONDS = 300  # after which the engine is asked for its containers although no event came
CHANGING = {"start", "die", "destroy"}  # which containers there are
# Not "destroy": what was running has died before, and what never ran is a start that failed; whoever tried tries again,
# later and later, and must not be woken by its own clearing up.
INTERESTING = {"die", "oom", "health_status"}


class Agent:
    def __init__(self, env: environment.Env) -> None:
        self._home = str(env.home)
        self._has_tls = bool(env.https_port or env.api_port)
        self._engine = DockerEngine(env.docker_host)
        self._redis = redis.Redis.from_url(env.redis_url, socket_timeout=10)
        self._queue = Celery("agent", broker=env.broker_url, set_as_current=False)
        self._queue.conf.task_default_queue = "default"
        self._has_changed = threading.Event()
        self._logs = LogCollecting(env, self._engine, self._redis)
        self._drains = make_draining(env)
        self._router_home = env.home / "router"
        self._sampler = Sampler(
            usage=(usage := ContainerUsage()).of, traffic=self._traffic, machine=lambda: machine_usage(env.home)
        )
        self._usage = usage

    def run(self, stop: threading.Event) -> None:
        threading.Thread(target=self._watch, daemon=True, name="engine events").start()
        threading.Thread(target=self._sample, daemon=True, name="samples").start()
        self._logs.start()
        self._drains.start()
        while not stop.is_set():
            self._send("convergence.sweep", expires=SWEEP_SECONDS)
            self._send("runs.sweep", expires=SWEEP_SECONDS)
            self._send("hooks.sweep", expires=SWEEP_SECONDS)
            if self._is_time_for("tidied", TIDY_SECONDS):
                self._send("convergence.tidy")
            if self._is_time_for("measured", MEASURE_SECONDS):
                self._send("machine.measure")
            if self._has_tls and self._is_time_for("certificates", CERTIFICATES_SECONDS):
                self._send("machine.renew_certificates", expires=CERTIFICATES_SECONDS)
            sweep_at = time.monotonic() + SWEEP_SECONDS
            while time.monotonic() < sweep_at and not stop.wait(BEAT_SECONDS):
                self._beat()
        self._logs.stop()
        self._drains.stop()

    def _is_time_for(self, what: str, seconds: int) -> bool:
        """Once in so many seconds, however often the platform is started."""
        try:
            return bool(self._redis.set(f"paas:{what}", 1, nx=True, ex=seconds))
        except redis.RedisError:
            return False

    def _watch(self) -> None:
        """For ever: the stream ends when the engine goes away, and is taken up where it broke off."""
        seen = datetime.now(tz=UTC)
        while True:
            try:
                for event in self._engine.events(since=seen, label=HOME):
                    seen = event.at
                    if event.action in CHANGING:
                        self._has_changed.set()
                        self._logs.look()
                    if event.action == "die" and event.labels.get(HOME) == self._home and event.labels.get(KIND) == "run":
                        self._send("runs.settle", event.container_id)
                    if event.action in INTERESTING and self._is_instance_of_ours(event.labels):
                        self._send("convergence.converge", event.labels[APP_ID])
                        if event.action == "die":
                            # Docker tells it before its list does: 40 ms and more, on a busy disk.
                            self._send("convergence.converge", event.labels[APP_ID], countdown=SETTLED_SECONDS)
            except EngineError as exc:
                log.warning("engine_events_lost", message=exc.message)
            except Exception:
                log.exception("engine_events_lost")
            time.sleep(1)

    def _is_instance_of_ours(self, labels: Mapping[str, str]) -> bool:
        return labels.get(HOME) == self._home and labels.get(KIND) == INSTANCE and APP_ID in labels

    def _sample(self) -> None:
        """For ever, at full quarters of a minute: rounds of two agents, one after the other, have the same times."""
        watched: list[Watched] = []
        listed, looks = 0.0, 0
        while True:
            time.sleep(ROUND_SECONDS - time.time() % ROUND_SECONDS)
            at = round(time.time() / ROUND_SECONDS) * ROUND_SECONDS
            try:
                if self._has_changed.is_set():
                    self._has_changed.clear()
                    looks = 2  # the engine's list may be behind its events
                if looks or time.monotonic() - listed > LIST_SECONDS:
                    looks = max(0, looks - 1)
                    watched, listed = self._running(), time.monotonic()
                    self._usage.forget_all_but({each.container_id for each in watched})
                sample = json.dumps(self._sampler.sample(at, watched), separators=(",", ":"))
                pipe = self._redis.pipeline(transaction=False)
                pipe.lpush(QUEUE, sample)
                pipe.ltrim(QUEUE, 0, KEEP_ROUNDS - 1)
                pipe.execute()
            except (EngineError, redis.RedisError, OSError) as exc:
                listed = 0.0
                log.warning("sample_lost", reason=str(exc))
            except Exception:
                log.exception("sample_lost")
            else:
                self._send("metrics.record", expires=ROUND_SECONDS)

    def _running(self) -> list[Watched]:
        found = self._engine.list({HOME: self._home, KIND: INSTANCE})
        return [
            Watched(each.id, each.labels.get(APP_ID, ""), f"{each.labels.get(PROCESS)}.{each.labels.get(INDEX)}")
            for each in found
            if each.state is State.RUNNING
        ]

    def _traffic(self) -> Mapping[str, AppTraffic] | None:
        try:
            return ask_traffic(self._router_home)
        except PlatformError:
            return None

    def _send(self, name: str, *args: str, expires: float | None = None, countdown: float | None = None) -> None:
        self._beat()
        try:
            self._queue.send_task(
                name, args=list(args), expires=expires, countdown=countdown, retry=False, headers={"sent_at": time.time()}
            )
        except (OperationalError, redis.RedisError, OSError) as exc:
            log.warning("task_not_sent", task=name, reason=str(exc))

    def _beat(self) -> None:
        try:
            self._redis.set(HEARTBEAT, int(time.time()), ex=60)
        except redis.RedisError:
            pass  # whoever asks for the heartbeat learns from its absence


def main() -> None:
    env = environment.load()
    configure(env.log_format)
    threading.stack_size(512 * 1024)  # one thread waits for the lines of each container
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Agent(env).run(stop)


if __name__ == "__main__":
    main()
