"""The receiving end on standard input and output, as an SSH server's session has it: `git push ext::…` talks to it."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from runtime.git.api import Access, Push, PushEvent, PushEventKind, RefUpdate
from runtime.git.receive import receive_pack
from runtime.git.repository import finish_push


class Pipe:
    def recv(self, limit: int) -> bytes | None:
        readable, _, _ = select.select([0], [], [], 0.05)
        return os.read(0, limit) if readable else None

    def write(self, data: bytes) -> None:
        while data:
            data = data[os.write(1, data) :]


class TakesAll:
    def policy(self, updates: Sequence[RefUpdate]) -> Mapping[str, str]:
        return {}

    def start(self, push: Push) -> Iterator[PushEvent]:
        yield PushEvent(PushEventKind.LINE, "through a pipe")
        finish_push(push, allow_force=False)
        yield PushEvent(PushEventKind.DONE)


if __name__ == "__main__":
    receive_pack(Access(Path(sys.argv[1]), TakesAll()), Pipe(), stateless=False)
