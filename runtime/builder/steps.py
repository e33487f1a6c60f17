"""One step of a build: a script in a container of its own, with a live log, limits, and an end in every case."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from runtime.builder.api import BuildConsole, BuildLimits, HostSettings
from runtime.builder.failures import timed_out
from runtime.engine.api import ContainerSpec, Engine, Exit, Limits, Mount
from runtime.errors import ContainerMissing, EngineError, Failure

MASK_FROM = 8  # shorter values are words like "true" or "8080", which a log may show
TAIL_LINES = 60
LONGEST_LINE = 2000

_CA_IN_CONTAINER = "/etc/ssl/certs/ca-certificates.crt"
CA_VARIABLES = (
    "SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "NPM_CONFIG_CAFILE",
    "GIT_SSL_CAINFO",
    "YARN_HTTPS_CA_FILE_PATH",
)
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Step:
    """What runs, and where. The environment may hold secrets: it goes nowhere but into the container."""

    name: str
    image: str  # by digest
    script: str
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    mounts: Sequence[Mount] = ()
    archives: Sequence[BinaryIO] = ()  # unpacked at the root before it starts
    user: str = ""
    network: str = ""
    limits: BuildLimits = field(default_factory=BuildLimits)


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int
    out_of_memory: bool
    tail: Sequence[str]  # the last lines, masked

    @property
    def last_line(self) -> str:
        return next((line for line in reversed(self.tail) if line.strip()), "").strip()


class Deadline:
    """Asks the console, and keeps the time by itself as well."""

    def __init__(self, console: BuildConsole, seconds: float) -> None:
        self._console = console
        self._seconds = seconds
        self._until = time.monotonic() + seconds

    def check(self) -> None:
        self._console.check()
        if time.monotonic() > self._until:
            raise timed_out(self._seconds)


class Mask:
    """Replaces the values of config vars in what tools print."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        parts = {
            part: f"[{name}]"
            for name, value in environment.items()
            for part in {value, *value.splitlines()}
            if len(part.strip()) >= MASK_FROM
        }
        self._parts = sorted(parts.items(), key=lambda pair: len(pair[0]), reverse=True)

    def __call__(self, line: str) -> str:
        for value, mask in self._parts:
            line = line.replace(value, mask)
        return line


def host_environment(host: HostSettings) -> dict[str, str]:
    found = dict.fromkeys(CA_VARIABLES, _CA_IN_CONTAINER) if host.ca_bundle else {}
    return {**found, **host.environment}


def host_mounts(host: HostSettings) -> list[Mount]:
    mounts = [Mount(str(path), str(path), read_only=True) for path in host.mounts]
    if host.ca_bundle:
        mounts.append(Mount(str(host.ca_bundle.resolve()), _CA_IN_CONTAINER, read_only=True))
    return mounts


def run_step(engine: Engine, step: Step, *, say: Callable[[str], None], deadline: Deadline, mask: Mask) -> Outcome:
    """The container is gone when this returns or raises, whatever happens; a cancel kills it at once."""
    deadline.check()
    container = engine.create(
        ContainerSpec(
            name=step.name,
            image=step.image,
            entrypoint=("/bin/sh", "-ec"),
            command=(step.script,),
            environment=step.environment,
            labels=step.labels,
            network=step.network,
            mounts=step.mounts,
            user=step.user,
            working_dir="/",
            stop_grace_seconds=0,
            limits=Limits(
                memory_bytes=step.limits.memory_bytes,
                cpus=step.limits.cpus,
                cpu_shares=step.limits.cpu_shares,
                pids=step.limits.pids,
            ),
        )
    )
    try:
        for archive in step.archives:
            archive.seek(0)
            engine.put_archive(container, "/", archive)
        engine.start(container)
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        _relay(engine, container, tail, say=say, deadline=deadline, mask=mask)
        end = _wait(engine, container, deadline)
        return Outcome(code=end.code, out_of_memory=end.oom_killed or end.code == 137, tail=tuple(tail))
    finally:
        engine.remove(container)


def _relay(
    engine: Engine,
    container: str,
    tail: deque[str],
    *,
    say: Callable[[str], None],
    deadline: Deadline,
    mask: Mask,
) -> None:
    """Lines come from a thread, so that a silent container can be cancelled too."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(engine, container, lines), name=f"log {container[:12]}", daemon=True)
    reader.start()
    while True:
        deadline.check()
        try:
            line = lines.get(timeout=_LOOK_SECONDS)
        except queue.Empty:
            continue
        if line is None:
            return
        text = mask(clean(line))
        tail.append(text)
        say(text)


def _read(engine: Engine, container: str, lines: queue.SimpleQueue[str | None]) -> None:
    try:
        for line in engine.logs(container, follow=True):
            lines.put(line.text)
    except Failure:
        pass  # gone, or the engine is: `wait` tells
    finally:
        lines.put(None)


def _wait(engine: Engine, container: str, deadline: Deadline) -> Exit:
    while True:
        deadline.check()
        try:
            return engine.wait(container, timeout_seconds=1)
        except TimeoutError:
            continue
        except ContainerMissing as exc:
            raise EngineError("The container of a build step was removed by somebody else.", id="step_removed") from exc


def clean(line: str) -> str:
    """What a terminal would show at the end: no colours, the last state of a line that was written over."""
    text = _ESCAPES.sub("", line).rstrip("\r\n")
    text = text.rsplit("\r", 1)[-1]
    text = "".join(c for c in text if c == "\t" or c.isprintable())
    return text if len(text) <= LONGEST_LINE else text[: LONGEST_LINE - 1] + "…"
