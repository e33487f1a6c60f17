"""git on a line: a push holds a thread for as long as its build runs, a fetch is a process of git's."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import threading
from contextlib import suppress

from paas.terminals.line import Line
from paas.terminals.threads import Threads
from runtime.git.api import Access
from runtime.git.fetch import fetch_command, fetch_environment
from runtime.git.receive import ClientGone, ProtocolError, receive_pack

log = logging.getLogger(__name__)

BLOCK = 64 * 1024
FAILED = 128  # as git exits


class Git:
    """`pushes` at once, of which two unpack; as many fetches as there are sessions."""

    def __init__(self, pushes: Threads) -> None:
        self._pushes = pushes
        self._slots = threading.BoundedSemaphore(2)

    async def receive(self, access: Access, line: Line) -> int:
        if self._pushes.is_full:
            await line.say(b"Other pushes are going on; yours waits for its turn.\n", is_error=True)
        try:
            await self._pushes.run(self._receive, access, line)
        except ProtocolError as exc:
            await line.say(f"{exc}\n".encode(), is_error=True)
            return FAILED
        except ClientGone as exc:
            log.info("The client of a push to %s has left: %s", access.repository.name, exc)
            return FAILED
        return 0

    def _receive(self, access: Access, line: Line) -> None:
        line.expect(access.limits.body_timeout_seconds)
        receive_pack(access, line, stateless=False, slots=self._slots)

    async def upload(self, access: Access, line: Line, protocol: str) -> int:
        process = await asyncio.create_subprocess_exec(
            *fetch_command(access.repository),
            env=fetch_environment(access.repository, protocol),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        feeding = asyncio.create_task(self._feed(process, line))
        try:
            assert process.stdout is not None
            while block := await process.stdout.read(BLOCK):
                await line.say(block)
            return await process.wait()
        finally:
            feeding.cancel()
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _feed(self, process: asyncio.subprocess.Process, line: Line) -> None:
        assert process.stdin is not None
        with suppress(OSError):
            while block := await line.read():
                process.stdin.write(block)
                await process.stdin.drain()
            process.stdin.close()
            if line.is_lost:
                process.kill()
