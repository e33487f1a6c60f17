"""Follows every container of ours, the router's log, and what the platform says, into the store.

One thread waits for each container's lines and does nothing else; one writes. A container is never held up: its lines lie
with the engine until they are fetched. After a restart each origin goes on where the store ends.
"""

from __future__ import annotations

import json
import logging
import queue
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from runtime.engine.api import Container, Engine, LogLine, State
from runtime.errors import ContainerMissing, EngineError
from runtime.logs.access import AccessLog
from runtime.logs.flood import Allowance
from runtime.logs.mask import Secrets, masked, named_secrets
from runtime.logs.record import NAME, Line, Source
from runtime.logs.store import NAMES, LogStore, Mark, names_in
from runtime.reconcile.spec import APP, APP_ID, HOME, INDEX, INSTANCE, KIND, LOGS, PROCESS, RELEASE

log = logging.getLogger(__name__)

WAITING = 20_000  # lines between the followers and the writer
GATHER_SECONDS = 0.05
LOOK_SECONDS = 5.0
TIDY_SECONDS = 600.0
ACCESS_SECONDS = 0.3
FLOOD_PAUSE_SECONDS = 1.0
FLOOD_TAIL = 500
KINDS = (INSTANCE, "release", "run")


@dataclass(frozen=True, slots=True)
class _Item:
    app_id: str
    line: Line | None = None
    ended: str = ""  # a container whose last line has been queued before this
    forget: bool = False
    done: Callable[[], None] | None = None  # called once it is on the disk


class Collector:
    def __init__(
        self,
        engine: Engine,
        store: LogStore,
        *,
        home: str,
        access_log: Path | None = None,
        on_collected: Callable[[str], None] = lambda container_id: None,  # noqa: ARG005
    ) -> None:
        self._engine, self._store, self._home = engine, store, home
        self._access_log, self._on_collected = access_log, on_collected
        self._queue: queue.Queue[_Item] = queue.Queue(WAITING)
        self._guard = threading.Lock()  # of the store
        self._look_now = threading.Event()
        self._stopping = threading.Event()
        self._followed: set[str] = set()  # containers that are followed, or have been to their end
        self._instances: dict[str, str] = {}  # address -> web.1
        self._ids: dict[str, str] = {}  # app's name -> its id
        self._forgotten: set[str] = set()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._learn_names()
        for work in (self._write, self._look, *((self._read_requests,) if self._access_log else ())):
            thread = threading.Thread(target=self._for_ever, args=(work,), daemon=True, name=f"logs {work.__name__}")
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """What has been queued is written; followers end with the process."""
        self._stopping.set()
        self._look_now.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def look(self) -> None:
        """A container has been started."""
        self._look_now.set()

    def say(self, app_id: str, app_name: str, line: Line, done: Callable[[], None]) -> None:
        """A line of the platform's. One that is in the store already is not written again."""
        self._learn(app_name, app_id)
        if _is_known(line.origin.partition(".")[2], self._mark(app_id, line.origin).stamp):
            done()
        else:
            self._put(_Item(app_id, line, done=done))

    def forget(self, app_id: str, done: Callable[[], None]) -> None:
        """The app is gone, and its log goes, too."""
        self._put(_Item(app_id, forget=True, done=done))

    # ---------------------------------------------------------------- threads

    def _for_ever(self, work: Callable[[], None]) -> None:
        while not self._stopping.is_set():
            try:
                work()
            except EngineError as exc:
                log.warning("logs_not_collected", extra={"work": work.__name__, "reason": exc.message})
            except Exception:
                log.exception("logs_not_collected", extra={"work": work.__name__})
            self._stopping.wait(1)

    def _write(self) -> None:
        tidy_at = time.monotonic()
        while not (self._stopping.is_set() and self._queue.empty()):
            if time.monotonic() >= tidy_at:
                tidy_at = time.monotonic() + TIDY_SECONDS
                with self._guard:
                    self._store.tidy()
            with suppress(queue.Empty):
                first = self._queue.get(timeout=0.2)
                if not self._stopping.is_set():
                    time.sleep(GATHER_SECONDS)  # many lines are one write
                items = [first]
                with suppress(queue.Empty):
                    while len(items) < WAITING:
                        items.append(self._queue.get_nowait())
                self._keep(items)

    def _keep(self, items: list[_Item]) -> None:
        lines: defaultdict[str, list[Line]] = defaultdict(list)
        for item in items:
            if item.line is not None and item.app_id not in self._forgotten:
                lines[item.app_id].append(item.line)
        with self._guard:
            for app_id, found in lines.items():
                found.sort(key=lambda line: line.at)  # stable: an origin's own lines keep their order
                try:
                    self._store.append(app_id, found)
                except (OSError, ValueError):
                    log.exception("log_lines_lost", extra={"app_id": app_id, "lines": len(found)})
            for item in items:
                if item.forget:
                    self._forgotten.add(item.app_id)
                    self._store.forget(item.app_id)
        for item in items:
            if item.ended:
                self._on_collected(item.ended)
            if item.done is not None:
                item.done()

    def _look(self) -> None:
        while not self._stopping.is_set():
            self._look_now.clear()
            containers = [each for each in self._engine.list({HOME: self._home}) if _is_kept(each)]
            self._instances = {each.address: _name(each) for each in containers if each.address}
            self._followed &= {each.id for each in containers}
            for container in containers:
                self._learn(container.labels.get(APP, ""), container.labels[APP_ID])
                if container.id not in self._followed and container.state is not State.CREATED:
                    self._followed.add(container.id)
                    threading.Thread(
                        target=self._follow, args=(container,), daemon=True, name=f"logs {container.name}"
                    ).start()
            self._look_now.wait(LOOK_SECONDS)

    # ---------------------------------------------------------------- containers

    def _follow(self, container: Container) -> None:
        """To its end, whatever happens to the engine on the way."""
        app_id, origin = container.labels[APP_ID], container.id[:12]
        mark = self._mark(app_id, origin)
        allowance = Allowance()
        while not self._stopping.is_set():
            try:
                mark = self._follow_from(container, mark, allowance)
                if self._engine.inspect(container.id).state is not State.RUNNING:
                    break
            except ContainerMissing:
                break
            except EngineError as exc:
                log.info("log_broken_off", extra={"container": container.name, "reason": exc.message})
                self._stopping.wait(1)
            except Exception:
                log.exception("log_broken_off", extra={"container": container.name})
                self._stopping.wait(5)
        self._put(_Item(app_id, ended=container.id))

    def _follow_from(self, container: Container, mark: Mark, allowance: Allowance) -> Mark:
        """Until the engine's stream ends. The mark after what has been queued."""
        since = datetime.fromisoformat(mark.stamp) if mark.stamp else None
        app_id, known = container.labels[APP_ID], mark.count
        secrets = self._secrets(container)
        stream = self._engine.logs(container.id, follow=True, since=since)
        dropped: Line | None = None
        while True:
            for entry in stream:
                line = _line(container, entry, secrets)
                if since is not None and line.at <= since:
                    if line.at < since:
                        continue  # the rest of a line that was kept when it began
                    if known:
                        known -= 1
                        continue
                if dropped is not None:
                    self._put(_Item(app_id, _left_out(dropped, line.stamp, allowance)))
                    dropped = None
                if not allowance.take(line.at, len(line.text)):
                    dropped = line
                    break
                self._put(_Item(app_id, line))
                mark = _after(mark, line)
            else:
                if dropped is not None:
                    self._put(_Item(app_id, _left_out(dropped, dropped.stamp, allowance)))
                return mark
            # Read nothing for a moment, then go on near the end: a flood must not cost more than it says in the log.
            self._stopping.wait(FLOOD_PAUSE_SECONDS)
            allowance.rested()
            since, known = dropped.at, sys.maxsize
            stream = self._engine.logs(container.id, follow=True, tail=FLOOD_TAIL)

    def _secrets(self, container: Container) -> Secrets:
        """What nobody may read in a log who may not see config vars."""
        environment = self._engine.inspect(container.id).environment
        return named_secrets({name: value for name, value in environment.items() if not name.startswith("PAAS_")})

    # ---------------------------------------------------------------- the router

    def _read_requests(self) -> None:
        assert self._access_log is not None
        file = self._store.root / "router.json"
        try:
            reader = AccessLog(self._access_log, json.loads(file.read_text()))
        except (OSError, ValueError):
            reader = AccessLog(self._access_log, None)
        marks: dict[str, str] = {}
        allowances: defaultdict[str, Allowance] = defaultdict(Allowance)
        left_out: dict[str, int] = {}
        while not self._stopping.is_set():
            requests = reader.read()
            for request in requests:
                app_id = self._ids.get(request.app)
                if app_id is None:
                    continue
                if app_id not in marks:
                    marks[app_id] = self._mark(app_id, "router").stamp
                kept_file, _, kept_end = marks[app_id].partition("-")
                if kept_file == request.file and request.end <= int(kept_end or 0):
                    continue  # written before we were restarted
                line = request.line(self._instances)
                if allowances[app_id].take(line.at, len(line.text)):
                    if missed := left_out.pop(app_id, 0):
                        words = (
                            f"{missed} lines of the router are left out: more than {allowances[app_id].rate:g} a second."
                        )
                        self._put(
                            _Item(app_id, replace(line, source=Source.PLATFORM, name="logs", text=words, origin="-"))
                        )
                    self._put(_Item(app_id, line))
                else:
                    left_out[app_id] = left_out.get(app_id, 0) + 1
            if requests:
                self._flush()
                beside = file.with_name(f".{file.name}.new")
                with suppress(OSError):
                    beside.write_text(json.dumps(reader.position))
                    beside.replace(file)
            else:
                self._stopping.wait(ACCESS_SECONDS)

    def _flush(self) -> None:
        """Until all that has been queued is on the disk."""
        written = threading.Event()
        self._put(_Item("", done=written.set))
        while not self._stopping.is_set() and not written.wait(0.5):
            pass

    # ---------------------------------------------------------------- odds and ends

    def _put(self, item: _Item) -> None:
        while not self._stopping.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=0.5)
                return

    def _mark(self, app_id: str, origin: str) -> Mark:
        with self._guard:
            return self._store.app(app_id).mark(origin.partition(".")[0])

    def _learn(self, name: str, app_id: str) -> None:
        """The router's log has names; they are kept for apps of which nothing runs. An app that has been renamed is known
        there by its first one."""
        if not name or self._ids.get(name) == app_id or app_id in self._forgotten:
            return
        self._ids[name] = app_id
        folder = self._store.root / app_id
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            names = [each for each, owner in list(self._ids.items()) if owner == app_id]
            (folder / NAMES).write_text("\n".join(names))

    def _learn_names(self) -> None:
        for file in self._store.root.glob(f"*/{NAMES}"):
            with suppress(OSError):
                self._ids |= dict.fromkeys(names_in(file.parent), file.parent.name)


def _is_kept(container: Container) -> bool:
    labels: Mapping[str, str] = container.labels
    return labels.get(KIND) in KINDS and APP_ID in labels and labels.get(LOGS) != "no"


def _name(container: Container) -> str:
    kind, labels = container.labels[KIND], container.labels
    if kind == INSTANCE:
        name = f"{labels.get(PROCESS, '')}.{labels.get(INDEX, '')}"
    else:
        name = f"{kind}.{labels.get(INDEX) or labels.get(RELEASE) or 0}"
    return name if NAME.fullmatch(name) else "app.0"


def _line(container: Container, entry: LogLine, secrets: Secrets) -> Line:
    release = container.labels.get(RELEASE, "")
    return Line(
        at=(entry.at or datetime.now(tz=UTC)).astimezone(UTC),
        source=Source.APP,
        name=_name(container),
        text=masked(entry.text, secrets),
        release=int(release) if release.isascii() and release.isdigit() else 0,
        origin=container.id[:12],
    )


def _left_out(first: Line, last: str, allowance: Allowance) -> Line:
    words = (
        f"{first.name} writes more than {allowance.rate:g} lines a second: "
        f"those from {first.stamp} to {last} are left out."
    )
    return replace(first, source=Source.PLATFORM, name="logs", text=words, origin="-")


def _is_known(progress: str, mark: str) -> bool:
    """Both are ids of a stream: `1764040000000-3`."""
    return bool(mark) and _numbers(progress) <= _numbers(mark)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("-") if part.isdigit())


def _after(mark: Mark, line: Line) -> Mark:
    return Mark(mark.stamp, mark.count + 1) if mark.stamp == line.stamp else Mark(line.stamp, 1)
