"""What git's server asks of the platform. `receive.py` speaks the protocol; whoever implements `PushHandler` decides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

Service = Literal["git-receive-pack", "git-upload-pack"]
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}?"  # of a repository, in front of ".git": what may be asked for at all


@dataclass(frozen=True, slots=True)
class RefUpdate:
    """One command of a push. `old`/`new` are hex ids, all zeros for "none"."""

    ref: str
    old: str
    new: str

    @property
    def is_delete(self) -> bool:
        return set(self.new) == {"0"}

    @property
    def is_create(self) -> bool:
        return set(self.old) == {"0"}


@dataclass(frozen=True, slots=True)
class GitLimits:
    max_pack_bytes: int = 256 * 1024 * 1024
    max_memory_bytes: int = 768 * 1024 * 1024
    max_cpu_seconds: int = 60
    max_commands: int = 200
    max_push_options: int = 50
    body_timeout_seconds: int = 120
    keepalive_seconds: float = 2.0


class PushEventKind(StrEnum):
    LINE = "line"  # a log line, relayed on side-band 2
    IDLE = "idle"  # nothing for `keepalive_seconds`: send a keepalive
    DONE = "done"  # accepted: the ref has moved
    FAILED = "failed"  # refused, nothing goes on: `text` becomes the `ng` reason
    DETACHED = "detached"  # we stop watching; the ref has not moved yet and the deploy goes on


@dataclass(frozen=True, slots=True)
class PushEvent:
    kind: PushEventKind
    text: str = ""


@dataclass(frozen=True, slots=True)
class Push:
    """A pack that has arrived, is well-formed and connected, and waits in quarantine."""

    repository: Path
    quarantine: Path | None  # None: the pack was empty (all objects are already there)
    update: RefUpdate
    options: Sequence[str] = ()
    shallow: Sequence[str] = ()  # commits whose parents the client did not send and we do not have
    received_bytes: int = 0
    received_seconds: float = 0.0  # from the first byte of the pack until it was checked


class PushHandler(Protocol):
    """One per push; holds who pushes and to which app."""

    def policy(self, updates: Sequence[RefUpdate]) -> Mapping[str, str]:
        """Before the pack is read: ref -> reason for those refused. Empty = all fine. A deploy takes one update."""
        ...

    def start(self, push: Push) -> Iterator[PushEvent]:
        """The job now owns the quarantine and finishes the push (`finish_push`, `abandon_push`). The iterator yields
        until DONE, FAILED or DETACHED; closing it early (the client went away) must not stop the job.

        The quarantine changes hands with the first event: what raises before that has started nothing, so the
        push is abandoned and the message of a `UserError` becomes the `ng` reason. Yield something as soon as the
        job is certain to run."""
        ...


@dataclass(frozen=True, slots=True)
class Access:
    """One repository, opened for one request of somebody who may do this."""

    repository: Path
    handler: PushHandler | None = None  # None: reading only
    limits: GitLimits = GitLimits()
    allow_force: bool = True  # may a push drop commits that the ref has now?
    allow_shallow: bool = True  # may history be cut where the client's is? Wanted for CI checkouts of depth 1


class Stream(Protocol):
    """What a transport gives the protocol: HTTP in web.py, the channel of an SSH server."""

    def recv(self, limit: int) -> bytes | None:
        """1 to `limit` bytes, b"" at the end; None: nothing within the last few ten milliseconds, ask again.

        A transport whose peer may leave its side open after the pack must return None then, as the end of a pack
        is known from the pack alone."""
        ...

    def write(self, data: bytes) -> object:
        """Sends at once. An `OSError` means that the client has gone."""
        ...
