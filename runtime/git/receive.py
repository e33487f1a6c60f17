"""The receiving end of `git push`, over any transport.

dulwich speaks the protocol: pkt-lines, side-bands, the status report. Its `handle()` is replaced, because there the
hook runs before the pack arrives and a ref that could not be moved is reported as `ok`. Here

    commands -> policy -> quarantine (git index-pack, under limits) -> connectivity -> PushHandler.start()

and whoever runs the deploy finishes the push: `runtime.git.repository.finish_push`. Until then no reader sees an
object of it, and when anything is refused no byte stays.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, assert_never

from dulwich.errors import GitProtocolError, HangupException
from dulwich.protocol import Protocol as PktLines
from dulwich.protocol import format_ref_line
from dulwich.refs import Ref, check_ref_format
from dulwich.repo import Repo
from dulwich.server import Backend, ReceivePackHandler

from runtime.errors import Conflict, Failure, UserError
from runtime.git.api import Access, Push, PushEvent, PushEventKind, PushHandler, RefUpdate, Stream
from runtime.git.process import SHALLOW_FILE, git_arguments, git_environment, limit_process, run_git
from runtime.git.repository import abandon_push, check_push, make_quarantine
from runtime.git.text import reason, terminal_lines

logger = logging.getLogger(__name__)

_BLOCK = 64 * 1024
_MAX_HEAD = 2 * 1024 * 1024  # bytes of commands, shallow lines or options that we read before giving up on a client
_HEX = re.compile(rb"[0-9a-f]{40}")
_ZERO = "0" * 40
_SIDE_BAND = b"side-band-64k"

# The first four: old tools wrote such objects, they sit deep in histories that cannot be rewritten, and they harm
# nobody. The last is but a remark to git: with it a mode of 0 is refused.
_TOLERATED = ("zeroPaddedFilemode", "missingSpaceBeforeDate", "badTimezone", "missingTaggerEntry")
_STRICT = "--strict=" + ",".join([*(f"{check}=ignore" for check in _TOLERATED), "badFilemode=error"])


class ClientGone(Exception):
    """The client does not listen any more. What was started goes on."""


class ProtocolError(Exception):
    """The client does not speak git as we know it; the text is for the client."""


class _Refused(Exception):
    """The push ends here. `unpack` is about the pack, `reason` about the ref."""

    def __init__(self, reason: str, *, unpack: str = "ok") -> None:
        super().__init__(reason)
        self.reason = reason
        self.unpack = unpack


@dataclass(frozen=True, slots=True)
class Commands:
    updates: Sequence[RefUpdate]
    capabilities: Sequence[bytes] = ()
    shallow: Sequence[str] = ()


@dataclass(slots=True)
class _Report:
    unpack: str = "ok"
    refused: dict[str, str] = field(default_factory=dict)  # ref -> reason; the others are fine


def parse_commands(lines: Iterable[bytes]) -> Commands:
    """The lines before the flush: `shallow <id>`, `<old> <new> <ref>`, with the capabilities behind the first NUL."""
    updates: list[RefUpdate] = []
    shallow: list[str] = []
    capabilities: list[bytes] = []
    for line in lines:
        text, nul, rest = line.partition(b"\0")
        if nul and not capabilities:
            capabilities = rest.split()
        text = text.removesuffix(b"\n")
        if text.startswith(b"shallow "):
            commit = text.removeprefix(b"shallow ")
            if not _HEX.fullmatch(commit):
                raise ProtocolError("A shallow line without a commit id.")
            shallow.append(commit.decode())
            continue
        old, _, rest = text.partition(b" ")
        new, _, ref = rest.partition(b" ")
        if not _HEX.fullmatch(old) or not _HEX.fullmatch(new) or not ref:
            raise ProtocolError("A line of the push that is no command.")
        updates.append(RefUpdate(ref=ref.decode("utf-8", "surrogateescape"), old=old.decode(), new=new.decode()))
    return Commands(updates=tuple(updates), capabilities=tuple(capabilities), shallow=tuple(shallow))


def refuse_malformed(updates: Sequence[RefUpdate]) -> dict[str, str]:
    """What git itself would not take, whatever the policy."""
    refused: dict[str, str] = {}
    seen: set[str] = set()
    for update in updates:
        name = update.ref.encode("utf-8", "surrogateescape")
        try:
            name.decode("utf-8")
        except UnicodeDecodeError:
            refused[update.ref] = "the name of the ref is not UTF-8"
            continue
        if not name.startswith(b"refs/") or not check_ref_format(Ref(name)) or len(name) > 250:
            refused[update.ref] = "funny refname"
        elif name.startswith(b"refs/replace/"):
            refused[update.ref] = "refs/replace is not taken here"
        elif update.ref in seen:
            refused[update.ref] = "several updates of one ref"
        seen.add(update.ref)
    return refused


def send_receive_pack_refs(access: Access) -> bytes:
    """The ref advertisement."""
    out = io.BytesIO()
    stream = _Memory(out)
    with contextlib.closing(ReceivePack(access, stream, stateless=True, advertise=True)) as handler:
        handler.handle()
    return out.getvalue()


def receive_pack(access: Access, stream: Stream, *, stateless: bool, slots: threading.Semaphore | None = None) -> None:
    """One push. `stateless`: the refs were advertised in an earlier request (HTTP).

    Raises `ClientGone`, `ProtocolError` (nothing was written yet), or what is wrong with the platform.
    """
    with contextlib.closing(ReceivePack(access, stream, stateless=stateless, slots=slots)) as handler:
        handler.handle()


class _Memory:
    def __init__(self, out: io.BytesIO) -> None:
        self.write = out.write

    def recv(self, limit: int) -> bytes | None:  # noqa: ARG002  # nobody sends anything here
        return b""


class _Input:
    """Exact reads for pkt-lines over a stream that returns what it has."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._buffer = b""

    def read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            block = self._stream.recv(_BLOCK)
            if block is None:
                continue
            if not block:
                break
            self._buffer += block
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def recv(self) -> bytes | None:
        if self._buffer:
            data, self._buffer = self._buffer, b""
            return data
        return self._stream.recv(_BLOCK)


class _OneRepository(Backend):
    """The caller has resolved and authorised the repository: what the client calls it does not matter."""

    def __init__(self, repo: Repo) -> None:
        self.repo = repo

    def open_repository(self, path: str) -> Repo:  # noqa: ARG002
        return self.repo


class ReceivePack(ReceivePackHandler):
    repo: Repo

    def __init__(
        self,
        access: Access,
        stream: Stream,
        *,
        stateless: bool = False,
        advertise: bool = False,
        slots: threading.Semaphore | None = None,
    ) -> None:
        self._access = access
        self._limits = access.limits
        self._stream = stream
        self._input = _Input(stream)
        self._slots = slots
        pkt_lines = PktLines(self._input.read, self._write)
        repo = Repo(str(access.repository), bare=True)
        super().__init__(_OneRepository(repo), ["/"], pkt_lines, stateless_rpc=stateless, advertise_refs=advertise)

    def close(self) -> None:
        self.repo.close()

    def capabilities(self) -> list[bytes]:
        return [
            b"report-status",
            b"delete-refs",
            _SIDE_BAND,
            b"quiet",
            b"atomic",
            b"ofs-delta",
            b"push-options",
            b"object-format=sha1",
            b"agent=git/paas",
        ]

    def handle(self) -> None:
        if self.advertise_refs or not self.stateless_rpc:
            self._advertise()
            if self.advertise_refs:
                return
        try:
            lines = list(self._lines())
            if not lines:
                return  # up to date, or the probe that precedes a large body
            commands = parse_commands(lines)
            if not commands.updates:
                return
            self.set_client_capabilities(commands.capabilities)
            options = list(self._lines()) if self.has_capability(b"push-options") else []
        except HangupException as error:
            raise ClientGone("The connection ended within the commands.") from error
        except GitProtocolError as error:
            raise ProtocolError(str(error)) from error
        self._finish(
            self._execute(commands, [line.decode("utf-8", "replace").rstrip("\n") for line in options]), commands
        )

    # The conversation

    def _advertise(self) -> None:
        values = [(bytes(name), bytes(value)) for name, value in self.repo.get_refs().items()]
        refs = sorted(pair for pair in values if pair[0].startswith(b"refs/"))
        if not refs:
            refs = [(b"capabilities^{}", _ZERO.encode())]
        for index, (name, value) in enumerate(refs):
            self.proto.write_pkt_line(format_ref_line(name, value, None if index else self.capabilities()))
        for commit in sorted(self.repo.get_shallow()):
            self.proto.write_pkt_line(b"shallow " + commit + b"\n")
        self.proto.write_pkt_line(None)

    def _lines(self) -> Iterator[bytes]:
        size = 0
        while (line := self.proto.read_pkt_line()) is not None:
            size += len(line) + 4
            if size > _MAX_HEAD:
                raise ProtocolError("Too much before the pack.")
            yield line

    def _write(self, data: bytes) -> None:
        try:
            self._stream.write(data)
        except OSError as error:
            raise ClientGone("The client has closed the connection.") from error

    def _say(self, text: str) -> None:
        if self.has_capability(_SIDE_BAND):
            lines = "".join(f"{line}\n" for line in terminal_lines(text)).encode("utf-8", "replace")
            for start in range(0, len(lines), 65_000):
                self.proto.write_pkt_line(b"\x02" + lines[start : start + 65_000])

    def _keep_alive(self) -> None:
        if self.has_capability(_SIDE_BAND):
            self.proto.write_pkt_line(b"\x01")

    def _finish(self, report: _Report, commands: Commands) -> None:
        if not self.has_capability(b"report-status"):
            if self.has_capability(_SIDE_BAND):
                self.proto.write_pkt_line(None)
            return
        status = [(b"unpack", reason(report.unpack).encode())]
        for update in commands.updates:
            refused = report.refused.get(update.ref)
            name = update.ref.encode("utf-8", "surrogateescape")
            status.append((name, b"ok" if refused is None else reason(refused).encode("utf-8", "replace")))
        self._report_status(status)

    # The push

    def _execute(self, commands: Commands, options: Sequence[str]) -> _Report:
        report = _Report()
        update = self._choose(commands, options, report)
        if update is None or update.is_delete or update.old == update.new:
            if any(not each.is_delete for each in commands.updates):
                self._drain()
            if update is None or update.old == update.new:
                return report
        try:
            if update.is_delete:
                push = Push(repository=self._access.repository, quarantine=None, update=update, options=options)
            else:
                push = self._ingest(update, commands, options)
            refused = self._relay(push)
        except _Refused as refusal:
            report.unpack = refusal.unpack
            refused = refusal.reason
        if refused:
            report.refused[update.ref] = refused
        return report

    def _choose(self, commands: Commands, options: Sequence[str], report: _Report) -> RefUpdate | None:
        """The one update that goes on to the pack; reasons for the others are put into the report."""
        updates = commands.updates
        problem = ""
        if len(updates) > self._limits.max_commands:
            problem = f"at most {self._limits.max_commands} refs in one push"
        elif len(options) > self._limits.max_push_options:
            problem = f"at most {self._limits.max_push_options} push options"
        if problem:
            report.refused.update((update.ref, problem) for update in updates)
            return None
        report.refused.update(refuse_malformed(updates))
        accepted = [update for update in updates if update.ref not in report.refused]
        if accepted:
            try:
                report.refused.update(self._handler().policy(accepted))
            except UserError as error:
                report.refused.update((update.ref, error.message) for update in accepted)
            accepted = [update for update in accepted if update.ref not in report.refused]
        if report.refused and self.has_capability(b"atomic"):
            report.refused.update((update.ref, "atomic push failed") for update in accepted)
            return None
        if len(accepted) > 1:
            report.refused.update((update.ref, "push one ref at a time") for update in accepted)
            return None
        return accepted[0] if accepted else None

    def _handler(self) -> PushHandler:
        if self._access.handler is None:
            raise ProtocolError("This repository is for reading only.")
        return self._access.handler

    def _relay(self, push: Push) -> str:
        """Runs the push and passes its log on. Returns the reason of a refusal, or ""."""
        started = False
        events: Iterator[PushEvent] | None = None
        try:
            events = self._handler().start(push)
            for event in events:
                started = True
                match event.kind:
                    case PushEventKind.LINE:
                        self._say(event.text)
                    case PushEventKind.IDLE:
                        self._keep_alive()
                    case PushEventKind.DONE:
                        return ""
                    case PushEventKind.FAILED:
                        abandon_push(push)  # whoever refused it may not have come to own it
                        return event.text or "refused"
                    case PushEventKind.DETACHED:
                        return event.text or "the deploy goes on"
                    case _:
                        assert_never(event.kind)
            if not started:
                _remove(push.quarantine)
            return "the deploy goes on, but its log ended here"
        except ClientGone:
            raise
        except Failure as error:
            if not started:
                _remove(push.quarantine)
            if not isinstance(error, UserError):
                logger.exception("The push to %s could not be handled.", push.repository)
                return "something went wrong on our side"
            if error.hint:
                self._say(error.hint)
            return error.message
        except Exception:
            logger.exception("The push to %s could not be handled.", push.repository)
            if started:
                return "we lost sight of the deploy; it goes on"
            _remove(push.quarantine)
            return "something went wrong on our side"
        finally:
            if callable(close := getattr(events, "close", None)):
                close()

    # The pack

    def _ingest(self, update: RefUpdate, commands: Commands, options: Sequence[str]) -> Push:
        begun = time.monotonic()
        head = self._input.read(12)
        if len(head) < 12 or not head.startswith(b"PACK"):
            raise _Refused("unpacker error", unpack="the pack is missing or cut short")
        repository = self._access.repository
        quarantine: Path | None = None
        try:
            size = 32
            if head[8:12] == b"\0\0\0\0":
                if self._input.read(20) != hashlib.sha1(head).digest():  # noqa: S324  # git's checksum
                    raise _Refused("unpacker error", unpack="the pack is cut short")
                if commands.shallow:
                    quarantine = make_quarantine(repository)  # for its list of shallow commits
            else:
                quarantine = make_quarantine(repository)
                size = self._index_pack(quarantine, head, commands.shallow)
            shallow = self._check(update, quarantine, commands.shallow)
            push = Push(
                repository=repository,
                quarantine=quarantine,
                update=update,
                options=tuple(options),
                shallow=shallow,
                received_bytes=size,
                received_seconds=time.monotonic() - begun,
            )
            check_push(push, allow_force=self._access.allow_force)
        except Conflict as error:
            _remove(quarantine)
            if error.hint:
                self._say(error.hint)
            raise _Refused(error.message) from error
        except BaseException:
            _remove(quarantine)
            raise
        return push

    def _index_pack(self, quarantine: Path, head: bytes, shallow: Sequence[str]) -> int:
        if shallow:
            known = {commit.decode() for commit in self.repo.get_shallow()}
            _write_shallow(quarantine, {*known, *shallow})
        limit = self._limits.max_pack_bytes
        command = git_arguments(
            "index-pack", "--stdin", "--fix-thin", "--threads=1", f"--max-input-size={limit}", _STRICT
        )
        with tempfile.TemporaryFile() as messages:
            with self._limited(command, quarantine, messages) as process, contextlib.ExitStack() as held:
                size = self._feed(process, head, held)
                self._drain()
                self._wait(process)
            if process.returncode == 0:
                return size
            messages.seek(0)
            text = messages.read(16_384).decode("utf-8", "replace")
            logger.info("A pack was refused: status %s, %s", process.returncode, text.strip()[:500])
            raise _Refused("unpacker error", unpack=self._explain(process.returncode, text, quarantine))

    @contextlib.contextmanager
    def _limited(self, command: list[str], quarantine: Path, messages: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(
            command,
            env=git_environment(self._access.repository, quarantine),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=messages,
        )
        try:
            seconds = self._limits.max_cpu_seconds
            memory = self._limits.max_memory_bytes
            # A thin pack grows by the bases that are added to it.
            file_size = 2 * self._limits.max_pack_bytes + 64 * 1024 * 1024
            limit_process(
                process,
                {
                    resource.RLIMIT_AS: (memory, memory),
                    resource.RLIMIT_CPU: (seconds, seconds + 1),
                    resource.RLIMIT_FSIZE: (file_size, file_size),
                    resource.RLIMIT_CORE: (0, 0),
                },
            )
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            with contextlib.suppress(OSError):
                assert process.stdin is not None
                process.stdin.close()

    def _feed(self, process: subprocess.Popen[bytes], head: bytes, held: contextlib.ExitStack) -> int:
        """Passes the pack on. Its last block waits for a slot: only with it does git begin the expensive part, and
        a slow upload must not keep others from theirs."""
        assert process.stdin is not None
        pipe = process.stdin
        pending = head
        size = 0
        with contextlib.suppress(BrokenPipeError):
            while True:
                block = self._input.recv()
                if block is None and not pending:
                    if process.poll() is not None:
                        return size
                    continue
                if not block:
                    self._take_slot(held)
                pipe.write(pending)
                pipe.flush()
                size += len(pending)
                pending = block or b""
                if block == b"" or size > self._limits.max_pack_bytes + _BLOCK:
                    break  # git knows the limit itself and has ended by then
            pipe.close()
        return size

    def _take_slot(self, held: contextlib.ExitStack) -> None:
        if self._slots is None:
            return
        slots, self._slots = self._slots, None
        while not slots.acquire(timeout=self._limits.keepalive_seconds):
            self._keep_alive()
        held.callback(slots.release)

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        while True:
            try:
                process.wait(timeout=self._limits.keepalive_seconds)
                return
            except subprocess.TimeoutExpired:
                self._keep_alive()

    def _drain(self) -> None:
        """Reads what the client still sends, so that it comes to read our answer; within reason."""
        left = self._limits.max_pack_bytes
        while left > 0 and (block := self._input.recv()):
            left -= len(block)

    def _explain(self, status: int, messages: str, quarantine: Path) -> str:
        lowered = messages.lower()
        if "maximum allowed size" in lowered:
            return f"pack exceeds maximum allowed size ({_megabytes(self._limits.max_pack_bytes)})"
        if status in {-signal.SIGXCPU, -signal.SIGKILL}:
            return "pack takes too long to unpack"
        if status == -signal.SIGXFSZ or "file too large" in lowered:
            return "pack is too large when unpacked"
        if "out of memory" in lowered or "mmap failed" in lowered or "cannot allocate" in lowered:
            return "pack needs too much memory"
        lines = [line.partition(": ") for line in messages.splitlines()]
        text = next((text for kind, _, text in lines if kind == "error"), "")
        text = text or next((text for kind, _, text in reversed(lines) if kind == "fatal"), "index-pack failed")
        for path in (quarantine, self._access.repository):
            text = text.replace(f"{path}/", "").replace(str(path), "")
        return text

    def _check(self, update: RefUpdate, quarantine: Path | None, shallow: Sequence[str]) -> tuple[str, ...]:
        """Everything reachable is here, and a branch is a commit. Returns the commits at which history ends."""
        repository = self._access.repository
        known = {commit.decode() for commit in self.repo.get_shallow()}
        if quarantine is not None:
            (quarantine / SHALLOW_FILE).unlink(missing_ok=True)  # first as if the client had all history
        ends: tuple[str, ...] = ()
        if not self._is_connected(update.new, quarantine):
            if shallow and quarantine is not None:
                ends = self._history_ends(shallow, quarantine)
                _write_shallow(quarantine, {*known, *ends})
            if not ends or not self._is_connected(update.new, quarantine):
                raise _Refused("missing necessary objects")
            if not self._access.allow_shallow:
                self._say("Your clone is shallow: run git fetch --unshallow, then push again.")
                raise _Refused("shallow update not allowed")
        if update.ref.startswith("refs/heads/"):
            _, kind = run_git("cat-file", "-t", update.new, repository=repository, quarantine=quarantine)
            if kind.strip() != b"commit":
                raise _Refused("a branch must be a commit")
        return ends

    def _is_connected(self, new: str, quarantine: Path | None) -> bool:
        command = git_arguments("rev-list", "--objects", "--stdin", "--not", "--all", "--quiet")
        environment = git_environment(self._access.repository, quarantine)
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            seconds = self._limits.max_cpu_seconds
            limit_process(process, {resource.RLIMIT_CPU: (seconds, seconds + 1)})
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
                pipe.write(f"{new}\n".encode())
            self._wait(process)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        return process.returncode == 0

    def _history_ends(self, shallow: Sequence[str], quarantine: Path) -> tuple[str, ...]:
        """Those of the client's shallow commits that came with the push and whose parents we don't have."""

        def ask(how: str, names: Iterable[str]) -> bytes:
            stdin = "".join(f"{name}\n" for name in names).encode()
            repository = self._access.repository
            return run_git("cat-file", how, repository=repository, quarantine=quarantine, stdin=stdin)[1]

        present = [line.split()[0].decode() for line in ask("--batch-check", shallow).splitlines() if b" commit " in line]
        ends: list[str] = []
        for commit in present:
            header = ask("--batch", [commit]).partition(b"\n")[2].partition(b"\n\n")[0]
            parents = [line[7:47].decode() for line in header.splitlines() if line.startswith(b"parent ")]
            if b" missing" in ask("--batch-check", parents):
                ends.append(commit)
        return tuple(sorted(ends))


def _write_shallow(quarantine: Path, commits: Iterable[str]) -> None:
    (quarantine / SHALLOW_FILE).write_text("".join(f"{commit}\n" for commit in sorted(commits)))


def _remove(quarantine: Path | None) -> None:
    if quarantine is not None:
        shutil.rmtree(quarantine, ignore_errors=True)


def _megabytes(size: int) -> str:
    return f"{size / 1024 / 1024:.0f} MiB" if size >= 1024 * 1024 else f"{size / 1024:.0f} KiB"
