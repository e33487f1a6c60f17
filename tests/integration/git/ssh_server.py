"""The SSH server with the scripted platform behind it. Its port is in `ssh.port`; `<user>.pub` is that user's key."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractContextManager, nullcontext

import asyncssh

from paas.core.files import write
from paas.terminals.ssh import Request, SshServer, ensure_host_key
from paas.terminals.threads import Threads
from runtime.errors import InvalidInput
from runtime.git.api import Access, Service
from tests.integration.git.git_server import ROOT, ScriptedPlatform


class ScriptedHost:
    def __init__(self) -> None:
        self._platform = ScriptedPlatform()

    def check_address(self, address: str) -> None:
        return

    def identify(self, fingerprint: str) -> str | None:
        keys = {asyncssh.read_public_key(file).get_fingerprint(): file.stem for file in ROOT.glob("*.pub")}
        return keys.get(fingerprint)

    def welcome(self, identity: str, address: str) -> None:
        return

    def name(self, identity: str) -> str:
        return identity

    def refusal(self, fingerprints: list[str]) -> str:
        return f"unknown keys: {len(fingerprints)}"

    def through(self, request_id: str, address: str) -> AbstractContextManager[None]:
        return nullcontext()

    def open(self, identity: str, app_name: str, service: Service) -> Access:
        return self._platform.open(identity, app_name, service)

    async def run(self, identity: str, request: Request) -> int:
        raise InvalidInput(f"There is no command {request.command!r}.")


async def main() -> None:
    logging.basicConfig(level=logging.INFO)
    key = ROOT / "ssh_host_key"
    ensure_host_key(key)
    server = SshServer(ScriptedHost(), calls=Threads("call", 4), pushes=Threads("push", 12))
    port = await server.listen("127.0.0.1", 0, key)
    write(ROOT / "ssh.port", f"{port}\n", mode=0o600)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
