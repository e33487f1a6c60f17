"""Send the logs of apps on to where people want them as well.

The store is the buffer: each drain reads on from its position, in a thread of its own, and holds up nobody. What is on
its way is written down before it is sent, with an id that goes with it: after a kill the same lines go out again under
the same id, and the receiver can tell (`Logplex-Frame-Id`). Syslog has no answers: there a batch counts when the
receiver's machine has acknowledged its last byte.

A drain that is half an hour behind jumps on, and says how many lines it left out.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import random
import socket
import ssl
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runtime.errors import Failure
from runtime.logs.batch import BatchReader
from runtime.logs.record import Line, Position, Source
from runtime.logs.store import names_in
from runtime.logs.syslog import framed, message
from runtime.outbound.addresses import Guard
from runtime.outbound.api import NotReached
from runtime.outbound.connect import client_tls, connect, in_words
from runtime.outbound.http import HttpOutbound
from runtime.outbound.urls import Target, parse_url

log = logging.getLogger(__name__)
SCHEMES = ("https", "http", "syslog+tls", "syslog")
LOOK_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0
SEND_SECONDS = 15.0
BEHIND_SECONDS = 1800.0
REFRESH_SECONDS = 15.0
STOP_SECONDS = 2.0  # for all of them together
LIST = "drains.json"


@dataclass(frozen=True, slots=True)
class DrainSpec:
    token: str
    url: str
    app: str  # its id; "" for all
    since: datetime


@dataclass(slots=True)
class Flight:
    """What is on its way. By it, the same bytes can be made again."""

    app: str
    start: str
    end: str
    frame: str
    notice: str = ""
    at: str = ""  # of the notice


@dataclass(slots=True)
class State:
    """Kept beside the list of drains, for us and for pages."""

    positions: dict[str, str] = field(default_factory=dict)  # by app
    flight: Flight | None = None
    sent: int = 0
    dropped: int = 0  # in all
    untold: int = 0  # of these, those that the receiver has not been told of
    gap: bool = False  # the same, and nobody knows how many
    since: str = ""  # when that began
    behind_seconds: float = 0.0
    error: str = ""
    at: str = ""

    @property
    def looked_at(self) -> datetime | None:
        """When this was written down."""
        try:
            return datetime.fromisoformat(self.at)
        except ValueError:
            return None


class Drain:
    """One of them. `run` is its thread."""

    def __init__(
        self,
        spec: DrainSpec,
        folder: Path,
        logs: Path,
        *,
        guard: Guard,
        ca_bundle: Path | None,
        behind_seconds: float = BEHIND_SECONDS,
    ) -> None:
        self.spec = spec
        self._file, self._logs, self._behind = folder / f"{spec.token}.json", logs, behind_seconds
        target = parse_url(spec.url, SCHEMES)
        self._sender: HttpSender | SyslogSender = (
            HttpSender(spec, guard, ca_bundle)
            if target.scheme.startswith("http")
            else SyslogSender(target, guard, ca_bundle)
        )
        self._readers: dict[str, BatchReader] = {}
        self._stopping = threading.Event()
        self.state = load_state(self._file)
        self._written = ""

    def run(self) -> None:
        failures, looked = 0, 0.0
        try:
            while not self._stopping.is_set():
                try:
                    has_sent = self.step()
                except Failure as exc:
                    failures += 1
                    self._report(exc.message)
                    pause = min(LONGEST_PAUSE_SECONDS, 2.0 ** min(failures - 1, 10))
                    self._stopping.wait(pause * random.uniform(0.8, 1.2))  # noqa: S311
                except Exception:
                    log.exception("drain_broke", extra={"drain": self.spec.token})
                    failures += 1
                    self._stopping.wait(LONGEST_PAUSE_SECONDS)
                else:
                    if failures or (not has_sent and time.monotonic() - looked > REFRESH_SECONDS):
                        looked = time.monotonic()
                        self._report("")
                    failures = 0
                    if not has_sent:
                        self._stopping.wait(LOOK_SECONDS)
        finally:
            self.close()

    def stop(self) -> None:
        self._stopping.set()

    def close(self) -> None:
        self._sender.close()

    def step(self) -> bool:
        """Send what is next of each app. False when there is nothing. Raises `NotReached`."""
        if self.state.flight is not None:
            self._fly(self.state.flight)
            return True
        has_sent = False
        for app in self._apps():
            flight = self._prepare(app)
            if flight is not None:
                self._fly(flight)
                has_sent = True
            if self._stopping.is_set():
                break
        return has_sent

    def _apps(self) -> Sequence[str]:
        if self.spec.app:
            return [self.spec.app]
        try:
            return sorted(each.name for each in self._logs.iterdir() if each.is_dir())
        except FileNotFoundError:
            return []

    def _reader(self, app: str) -> BatchReader:
        if app not in self._readers:
            self._readers[app] = BatchReader(self._logs / app)
        return self._readers[app]

    def _prepare(self, app: str) -> Flight | None:
        """The next batch, written down. Jumps first when it is too old."""
        state, reader = self.state, self._reader(app)
        position = Position.parse(state.positions.get(app, "")) or reader.start(self.spec.since)
        oldest = datetime.fromtimestamp(time.time() - self._behind, tz=UTC)
        while (batch := reader.after(position)) is not None:
            if batch.has_gap and app in state.positions:
                state.gap, state.since = True, state.since or _now()
            wanted = [line for line in batch.lines if line.at >= self.spec.since]
            if wanted and wanted[-1].at < oldest:
                state.untold += len(wanted)
                state.dropped += len(wanted)
                state.since = state.since or wanted[0].stamp
            elif wanted:
                state.behind_seconds = round(max(0.0, time.time() - wanted[0].at.timestamp()), 1)
                flight = Flight(app, str(batch.start), str(batch.end), self._frame(app, batch.start, batch.end))
                if state.untold or state.gap:
                    flight.notice, flight.at = _dropped_words(state), _now()
                state.flight = flight
                self._save()
                return flight
            position = batch.end
            state.positions[app] = str(position)
            if self._stopping.is_set():
                break
        state.behind_seconds = 0.0
        return None

    def _frame(self, app: str, start: Position, end: Position) -> str:
        return hashlib.sha256(f"{self.spec.token} {app} {start} {end}".encode()).hexdigest()[:32]

    def _fly(self, flight: Flight) -> None:
        """Send it, then count it."""
        state = self.state
        start, end = Position.parse(flight.start), Position.parse(flight.end)
        assert start is not None
        assert end is not None
        batch = self._reader(flight.app).after(start, until=end)
        lines = [line for line in batch.lines if line.at >= self.spec.since] if batch and batch.start == start else []
        messages = [self._message(flight.app, line) for line in lines]
        if flight.notice:
            notice = Line(datetime.fromisoformat(flight.at), Source.PLATFORM, "drain", flight.notice)
            messages.insert(0, self._message(flight.app, notice))
        if messages:
            self._sender.send(messages, flight.frame)
        if flight.notice:
            state.untold, state.gap, state.since = 0, False, ""
        state.positions[flight.app] = flight.end
        state.flight = None
        state.sent += len(lines)
        state.error, state.at = "", _now()
        self._save()

    def _message(self, app: str, line: Line) -> bytes:
        is_logplex = isinstance(self._sender, HttpSender)
        name = "" if self.spec.app else self._name(app)
        return message(line, host="host" if is_logplex else self.spec.token, app_name=name, is_logplex=is_logplex)

    def _name(self, app: str) -> str:
        try:
            return names_in(self._logs / app)[-1].strip() or app
        except OSError:
            return app

    def _report(self, error: str) -> None:
        self.state.error, self.state.at = error, _now()
        self._save()

    def _save(self) -> None:
        text = json.dumps(asdict(self.state), separators=(",", ":"))
        if text == self._written:
            return
        beside = self._file.with_name(f".{self._file.name}.new")
        try:
            beside.write_text(text)
            beside.replace(self._file)
        except OSError as exc:
            raise NotReached(f"Where this drain is can't be written down: {exc.strerror}.", id="disk") from exc
        self._written = text


def load_state(file: Path) -> State:
    try:
        kept: dict[str, Any] = json.loads(file.read_text())
        flight = kept.pop("flight", None)
        known = {each.name for each in fields(State)}
        state = State(**{name: value for name, value in kept.items() if name in known})
        state.flight = Flight(**flight) if flight else None
        return state
    except (OSError, ValueError, TypeError, AttributeError):
        return State()


def _dropped_words(state: State) -> str:
    """In Heroku's words, which receivers look for."""
    if state.gap and not state.untold:
        return f"Error L10 (output buffer overflow): messages dropped since {state.since}, their log was deleted."
    return f"Error L10 (output buffer overflow): {state.untold} messages dropped since {state.since}."


def _now() -> str:
    return datetime.now(tz=UTC).isoformat(timespec="microseconds")


class HttpSender:
    """As Logplex does it: https://devcenter.heroku.com/articles/log-drains."""

    def __init__(self, spec: DrainSpec, guard: Guard, ca_bundle: Path | None) -> None:
        self._spec, self._outbound = spec, HttpOutbound(guard, ca_bundle)

    def send(self, messages: Sequence[bytes], frame: str) -> None:
        """Raises `NotReached`."""
        headers = {
            "Content-Type": "application/logplex-1",
            "Logplex-Msg-Count": str(len(messages)),
            "Logplex-Frame-Id": frame,
            "Logplex-Drain-Token": self._spec.token,
            "User-Agent": "paas-drain/1",
        }
        body = b"".join(framed(each) for each in messages)
        answer = self._outbound.post(self._spec.url, body, headers, seconds=SEND_SECONDS)
        if not 200 <= answer.status < 300:
            words = f"It answered {answer.status}: {answer.excerpt[:120]}".rstrip(": ")
            raise NotReached(words, id="drain_refused")

    def close(self) -> None:
        """Each request has a connection of its own."""


class SyslogSender:
    """Over TCP, one connection that is kept."""

    def __init__(self, target: Target, guard: Guard, ca_bundle: Path | None) -> None:
        self._target, self._guard, self._ca_bundle = target, guard, ca_bundle
        self._socket: socket.socket | None = None

    def send(self, messages: Sequence[bytes], _frame: str) -> None:
        """Raises `NotReached`: then nobody knows how much of it arrived, and all of it is sent again."""
        host = self._target.host
        try:
            if self._socket is not None and not _is_open(self._socket):
                self.close()
            if self._socket is None:
                tls = client_tls(self._ca_bundle) if self._target.is_encrypted else None
                self._socket = connect(host, self._target.port, guard=self._guard, seconds=SEND_SECONDS, tls=tls)
            self._socket.settimeout(SEND_SECONDS)
            self._socket.sendall(b"".join(framed(each) for each in messages))
            _wait_until_acknowledged(self._socket)
        except OSError as exc:
            self.close()
            raise in_words(exc, host) from exc

    def close(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None


def _is_open(sock: socket.socket) -> bool:
    """The other side has not said goodbye. What it says otherwise nobody reads."""
    sock.setblocking(False)
    try:
        while True:
            if not sock.recv(4096):
                return False
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False
    finally:
        sock.setblocking(True)


def _wait_until_acknowledged(sock: socket.socket) -> None:
    """A write only fills a buffer of ours: it counts when the other machine has it."""
    deadline = time.monotonic() + SEND_SECONDS
    while True:
        (waiting,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))
        if not waiting:
            return
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.002)


class Draining:
    """All of them, as the list says that the platform writes."""

    def __init__(
        self, folder: Path, logs: Path, *, guard: Guard, ca_bundle: Path | None, unseal: Callable[[str], str]
    ) -> None:
        self._folder, self._logs, self._guard, self._ca_bundle, self._unseal = folder, logs, guard, ca_bundle, unseal
        self._stopping = threading.Event()
        self._running: dict[str, tuple[Drain, threading.Thread]] = {}
        self._thread = threading.Thread(target=self._watch, daemon=True, name="drains")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """What is on its way is waited for, for a moment."""
        self._stopping.set()
        for drain, _ in self._running.values():
            drain.stop()
        deadline = time.monotonic() + STOP_SECONDS
        for _, thread in self._running.values():
            thread.join(timeout=max(0.0, deadline - time.monotonic()))

    def _watch(self) -> None:
        seen: tuple[int, int] | None = None
        while not self._stopping.is_set():
            try:
                stat = (self._folder / LIST).stat()
                mark = (stat.st_ino, stat.st_mtime_ns)
            except FileNotFoundError:
                mark = (0, 0)
            if mark != seen:
                try:
                    self._follow(list(self._specs()) if mark != (0, 0) else [])
                    seen = mark
                except Exception:  # a key that is being replaced, half a list: the next look may do
                    log.exception("drains_not_read")
            self._stopping.wait(1)

    def _specs(self) -> Iterator[DrainSpec]:
        listed: Mapping[str, Any] = json.loads((self._folder / LIST).read_text())
        for row in listed["drains"]:
            url = self._unseal(row["sealed_url"])
            yield DrainSpec(row["token"], url, row["app"] or "", datetime.fromisoformat(row["since"]))

    def _follow(self, specs: Sequence[DrainSpec]) -> None:
        wanted = {spec.token: spec for spec in specs}
        for token in [token for token, (drain, _) in self._running.items() if wanted.get(token) != drain.spec]:
            drain, thread = self._running.pop(token)
            drain.stop()
            thread.join(timeout=SEND_SECONDS + 1)
        for token, spec in wanted.items():
            if token not in self._running:
                drain = Drain(spec, self._folder, self._logs, guard=self._guard, ca_bundle=self._ca_bundle)
                thread = threading.Thread(target=drain.run, daemon=True, name=f"drain {token[:10]}")
                self._running[token] = (drain, thread)
                thread.start()
        for file in self._folder.glob("d.*.json"):
            if file.stem not in wanted:
                file.unlink(missing_ok=True)
