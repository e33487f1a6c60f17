from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from runtime.errors import Forbidden, PlatformError
from runtime.git.api import Access, Push, PushEvent, PushEventKind, RefUpdate
from runtime.git.receive import (
    ClientGone,
    ProtocolError,
    parse_commands,
    receive_pack,
    refuse_malformed,
    send_receive_pack_refs,
)
from runtime.git.repository import finish_push, ref_value
from tests.unit.runtime.git.conftest import Work

A, B, ZERO = "a" * 40, "b" * 40, "0" * 40


def test_commands_shallow_lines_and_capabilities_are_told_apart() -> None:
    commands = parse_commands(
        [
            f"shallow {B}\n".encode(),
            f"{ZERO} {A} refs/heads/main\0 report-status side-band-64k agent=git/2\n".encode(),
            f"{A} {ZERO} refs/heads/with space\n".encode(),
        ]
    )
    assert commands.shallow == (B,)
    assert commands.capabilities == (b"report-status", b"side-band-64k", b"agent=git/2")
    assert commands.updates == (
        RefUpdate(ref="refs/heads/main", old=ZERO, new=A),
        RefUpdate(ref="refs/heads/with space", old=A, new=ZERO),
    )
    assert [update.is_create for update in commands.updates] == [True, False]
    assert [update.is_delete for update in commands.updates] == [False, True]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"hello",
        b"shallow",
        b"shallow x",
        A.encode(),
        f"{A} {B}".encode(),
        f"{A} {B} ".encode(),
        b"push-cert\0",
    ],
)
def test_other_lines_are_no_commands(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_commands([line])


def test_the_same_ref_twice_is_refused() -> None:
    update = RefUpdate(ref="refs/heads/main", old=ZERO, new=A)
    assert refuse_malformed([update]) == {}
    assert refuse_malformed([update, update]) == {"refs/heads/main": "several updates of one ref"}


class Channel:
    """A transport like SSH's: the client keeps its side open after the pack and waits."""

    def __init__(self, *blocks: bytes | None, gone_after: int = 1_000_000) -> None:
        self.blocks: list[bytes | None] = list(blocks)
        self.sent = b""
        self.gone_after = gone_after

    def recv(self, limit: int) -> bytes | None:
        return self.blocks.pop(0) if self.blocks else None

    def write(self, data: bytes) -> None:
        if len(self.sent) > self.gone_after:
            raise BrokenPipeError
        self.sent += data


class Platform:
    def __init__(
        self, *events: PushEvent, refuse: Mapping[str, str] | None = None, error: Exception | None = None
    ) -> None:
        self.events = events
        self.refuse = refuse or {}
        self.error = error
        self.pushes: list[Push] = []
        self.closed = False

    def policy(self, updates: Sequence[RefUpdate]) -> Mapping[str, str]:
        return self.refuse

    def start(self, push: Push) -> Iterator[PushEvent]:
        if self.error is not None:
            raise self.error
        self.pushes.append(push)
        try:
            for event in self.events:
                if event.kind is PushEventKind.DONE:
                    finish_push(push, allow_force=False)
                yield event
        finally:
            self.closed = True


LINE = PushEvent(PushEventKind.LINE, "working")
DONE = PushEvent(PushEventKind.DONE)


def pkt(data: bytes) -> bytes:
    return f"{len(data) + 4:04x}".encode() + data


def request(new: str, pack: bytes, capabilities: str = "report-status") -> bytes:
    return pkt(f"{ZERO} {new} refs/heads/main\0{capabilities}".encode()) + b"0000" + pack


def quarantines(repository: Path) -> list[Path]:
    return list((repository / "objects").glob("tmp_*"))


def files(repository: Path) -> list[Path]:
    return [path for path in (repository / "objects").rglob("*") if path.is_file()]


def test_a_client_that_never_closes_its_side_is_served(repository: Path, work: Work) -> None:
    commit = work.commit()
    sent = request(commit, work.pack("HEAD"))
    platform = Platform(LINE, DONE)
    channel = Channel(None, sent[:10], None, *(sent[index : index + 50] for index in range(10, len(sent), 50)), None)
    receive_pack(Access(repository, platform), channel, stateless=False)
    assert channel.sent.startswith(pkt(f"{ZERO} capabilities^{{}}\0".encode())[4:6] or b"00")
    assert channel.sent.endswith(b"ok refs/heads/main\n0000")
    assert ref_value(repository, "refs/heads/main") == commit
    assert platform.closed


def test_nothing_to_push_is_a_flush(repository: Path) -> None:
    channel = Channel(b"0000")
    receive_pack(Access(repository, Platform()), channel, stateless=False)
    assert channel.sent == send_receive_pack_refs(Access(repository))


def test_the_push_carries_all_that_its_row_needs(repository: Path, work: Work) -> None:
    commit = work.commit()
    pack = work.pack("HEAD")
    platform = Platform(DONE)
    receive_pack(Access(repository, platform), Channel(request(commit, pack), b""), stateless=True)
    (push,) = platform.pushes
    assert push.repository == repository
    assert push.quarantine is not None
    assert push.update == RefUpdate(ref="refs/heads/main", old=ZERO, new=commit)
    assert push.received_bytes == len(pack)
    assert push.received_seconds > 0


def test_a_client_that_leaves_during_the_log_leaves_the_job_alone(repository: Path, work: Work) -> None:
    platform = Platform(LINE, LINE, LINE, DONE)
    sent = request(work.commit(), work.pack("HEAD"), "report-status side-band-64k")
    with pytest.raises(ClientGone):
        receive_pack(Access(repository, platform), Channel(sent, b"", gone_after=5), stateless=True)
    assert platform.closed
    assert quarantines(repository) == [platform.pushes[0].quarantine]


@pytest.mark.parametrize(
    ("platform", "reason"),
    [
        (Platform(error=Forbidden("The app is in maintenance.")), b"The app is in maintenance."),
        (Platform(error=PlatformError("disk /secret/path")), b"something went wrong on our side"),
        (Platform(error=ZeroDivisionError()), b"something went wrong on our side"),
        (Platform(LINE, PushEvent(PushEventKind.FAILED, "the queue is full")), b"the queue is full"),
        (Platform(), b"the deploy goes on, but its log ended here"),
        (Platform(refuse={"refs/heads/main": "frozen until Monday"}), b"frozen until Monday"),
    ],
    ids=["user", "platform", "bug", "refused at once", "no event", "policy"],
)
def test_a_push_that_never_started_leaves_nothing(
    repository: Path, work: Work, platform: Platform, reason: bytes
) -> None:
    channel = Channel(request(work.commit(), work.pack("HEAD")), b"")
    receive_pack(Access(repository, platform), channel, stateless=True)
    assert b"ng refs/heads/main " + reason + b"\n" in channel.sent
    assert files(repository) == []
    assert quarantines(repository) == []


def test_a_bug_after_the_start_leaves_the_job_its_objects(repository: Path, work: Work) -> None:
    class Breaks(Platform):
        def start(self, push: Push) -> Iterator[PushEvent]:
            self.pushes.append(push)
            yield LINE
            raise ZeroDivisionError

    channel = Channel(request(work.commit(), work.pack("HEAD")), b"")
    receive_pack(Access(repository, Breaks()), channel, stateless=True)
    assert b"ng refs/heads/main we lost sight of the deploy; it goes on\n" in channel.sent
    assert len(quarantines(repository)) == 1


def test_reading_only_takes_no_push(repository: Path) -> None:
    with pytest.raises(ProtocolError):
        receive_pack(Access(repository), Channel(request(A, b"")), stateless=True)


def test_a_connection_that_ends_within_the_commands_is_a_client_gone(repository: Path) -> None:
    with pytest.raises((ClientGone, ProtocolError)):
        receive_pack(Access(repository, Platform()), Channel(b"00a0half", b""), stateless=True)


def test_a_slot_is_given_back(repository: Path, work: Work, quarantined: Callable[[bytes], Path]) -> None:
    import threading

    slots = threading.BoundedSemaphore(1)
    for _ in range(2):
        platform = Platform(error=Forbidden("no"))
        receive_pack(
            Access(repository, platform),
            Channel(request(work.commit(), work.pack("HEAD")), b""),
            stateless=True,
            slots=slots,
        )
    assert slots.acquire(blocking=False)
