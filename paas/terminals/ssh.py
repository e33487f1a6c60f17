"""The SSH server: keys, sessions, git. Whom a key belongs to and what else may be asked is told by a `Host`.

Public keys are the only way in. There is no shell, no forwarding, no agent, and of the environment only git's protocol
version is read.
"""
# ruff: noqa: ARG002 - what callbacks are given is asyncssh's choice

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import asyncssh

from paas.core.files import write
from paas.terminals.git import Git
from paas.terminals.line import Line
from paas.terminals.threads import Threads
from runtime.errors import Failure, UserError
from runtime.git.api import Access, Service
from runtime.git.ssh import parse_command
from runtime.git.text import plain

log = logging.getLogger(__name__)

Identity = TypeVar("Identity")

MOST_CONNECTIONS = 300
MOST_OF_ONE_PERSON = 40
MOST_UNKNOWN = 60  # connections whose key we have not seen yet
MOST_SESSIONS = 10  # in one connection
MOST_KEYS = 15  # that a client may offer
MOST_COMMAND = 16 * 1024
LOGIN_SECONDS = 30
KEEPALIVE_SECONDS = 30
WINDOW = 1024 * 1024  # what a client may send before we have read it

SIGNATURES = (
    "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-256", "rsa-sha2-512",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """One command, on its way through the server."""

    command: str
    line: Line
    terminal: str | None  # its type; None: pipes


class Host(Protocol[Identity]):
    """The platform's side. What is not `async` may block: it is called in a thread."""

    def check_address(self, address: str) -> None:
        """Raises a `UserError` for one that has to wait."""
        ...

    def identify(self, fingerprint: str) -> Identity | None: ...
    def welcome(self, identity: Identity, address: str) -> None:
        """It has shown that it has the key."""
        ...

    def name(self, identity: Identity) -> str:
        """The same for all keys of one person. Does not block."""
        ...

    def refusal(self, fingerprints: list[str]) -> str:
        """Said to somebody whose keys are all unknown. Does not block."""
        ...

    def through(self, request_id: str, address: str) -> AbstractContextManager[None]:
        """Around everything that is done for a command."""
        ...

    def open(self, identity: Identity, app_name: str, service: Service) -> Access:
        """Raises `NotFound`, `Forbidden` or `InvalidInput`."""
        ...

    async def run(self, identity: Identity, request: Request) -> int:
        """A command that is not git's; its exit status."""
        ...


def ensure_host_key(file: Path) -> str:
    """Made at the first start, kept from then on: clients remember it. Returns its fingerprint."""
    if not file.exists():
        key = asyncssh.generate_private_key("ssh-ed25519", comment="paas")
        write(file, key.export_private_key().decode(), mode=0o600)
    key = asyncssh.read_private_key(file)
    write(file.with_name(f"{file.name}.pub"), key.export_public_key().decode())
    return key.get_fingerprint()


class SshServer(Generic[Identity]):
    def __init__(self, host: Host[Identity], *, calls: Threads, pushes: Threads) -> None:
        self.host = host
        self.calls = calls
        self.git = Git(pushes)
        self.connections: set[_Connection[Identity]] = set()
        self.people: Counter[str] = Counter()
        self._acceptor: asyncssh.SSHAcceptor | None = None

    async def listen(self, address: str, port: int, host_key: Path) -> int:
        """Returns the port."""
        self._acceptor = await asyncssh.listen(
            address,
            port,
            server_factory=lambda: _Connection(self),
            server_host_keys=[str(host_key)],
            server_version="paas",
            config=None,
            encoding=None,
            line_editor=False,
            agent_forwarding=False,
            x11_forwarding=False,
            allow_scp=False,
            gss_host=None,
            password_auth=False,
            host_based_auth=False,
            signature_algs=SIGNATURES,
            compression_algs=["none"],
            login_timeout=LOGIN_SECONDS,
            keepalive_interval=KEEPALIVE_SECONDS,
            keepalive_count_max=3,
            window=WINDOW,
            reuse_address=True,
            backlog=256,
        )
        return self._acceptor.get_port()

    async def close(self) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
        for connection in list(self.connections):
            connection.end("The platform is being stopped.")


class _Connection(asyncssh.SSHServer, Generic[Identity]):
    def __init__(self, server: SshServer[Identity]) -> None:
        self.server = server
        self.identity: Identity | None = None
        self.fingerprint = ""
        self.address = ""
        self._unknown: list[str] = []
        self.name = ""
        self._was_told = False
        self._sessions = 0
        self._ssh: asyncssh.SSHServerConnection

    # Coming and going

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._ssh = conn
        self.address = str(conn.get_extra_info("peername", ("",))[0])
        everybody = self.server.connections
        everybody.add(self)
        unknown = sum(1 for each in everybody if not each.name)
        if len(everybody) > MOST_CONNECTIONS or unknown > MOST_UNKNOWN:
            log.warning("ssh_connection_refused: %s connections, %s not signed in", len(everybody), unknown)
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connections.discard(self)
        if self.name:
            self.server.people[self.name] -= 1
            self.server.people += Counter()  # without those that have none left

    def end(self, why: str) -> None:
        self._ssh.disconnect(asyncssh.DISC_BY_APPLICATION, why)

    # Who it is

    async def begin_auth(self, username: str) -> bool:
        try:
            await self.server.calls.run(self.server.host.check_address, self.address)
        except UserError as exc:
            raise asyncssh.DisconnectError(asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, str(exc)) from exc
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Asked for each key that is offered, and again with its signature, which is checked after this."""
        fingerprint = key.get_fingerprint()
        if fingerprint != self.fingerprint:
            self.identity = await self.server.calls.run(self.server.host.identify, fingerprint)
            self.fingerprint = fingerprint if self.identity is not None else ""
        if self.identity is not None:
            return True
        if fingerprint not in self._unknown:
            self._unknown.append(fingerprint)
        if len(self._unknown) >= MOST_KEYS:
            words = self.server.host.refusal(self._unknown)
            raise asyncssh.DisconnectError(asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, words)
        return False

    async def auth_completed(self) -> None:
        assert self.identity is not None
        self.name = self.server.host.name(self.identity)
        self.server.people[self.name] += 1
        if self.server.people[self.name] > MOST_OF_ONE_PERSON:
            self.end("You have too many connections open.")
            return
        await self.server.calls.run(self.server.host.welcome, self.identity, self.address)

    # A client comes here when none of its keys was known. There is nothing to answer, and no answer is right: this is the
    # one place where SSH lets a server say why, when it is over and not for each key on the way.

    def kbdint_auth_supported(self) -> bool:
        return not self._was_told

    def get_kbdint_challenge(
        self, username: str, lang: str, submethods: str
    ) -> tuple[str, str, str, list[tuple[str, bool]]]:
        self._was_told = True
        return "", self.server.host.refusal(self._unknown), "", []

    def validate_kbdint_response(self, username: str, responses: Sequence[str]) -> bool:
        return False

    # What it wants

    def session_requested(self) -> asyncssh.SSHServerSession[bytes] | bool:
        if self._sessions >= MOST_SESSIONS:
            return False
        self._sessions += 1
        return _Session(self)

    def session_ended(self) -> None:
        self._sessions -= 1


class _Channel:
    """An SSH channel as a `Line` writes to it."""

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = channel
        self.pause_reading = channel.pause_reading
        self.resume_reading = channel.resume_reading
        self.abort = channel.abort

    def send(self, data: bytes, *, is_error: bool) -> None:
        if is_error:
            self._channel.write_stderr(data)
        else:
            self._channel.write(data)


class _Session(asyncssh.SSHServerSession[bytes], Generic[Identity]):
    def __init__(self, connection: _Connection[Identity]) -> None:
        self._connection = connection
        self._server = connection.server
        self._command = ""
        self._terminal: str | None = None
        self._serving: asyncio.Task[None] | None = None
        self._channel: asyncssh.SSHServerChannel[bytes]
        self._line: Line

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan
        self._line = Line(_Channel(chan))

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.session_ended()
        self._line.lost()

    def pty_requested(self, term_type: str, term_size: tuple[int, int, int, int], term_modes: object) -> bool:
        self._terminal = term_type
        self._line.resized(term_size[1], term_size[0])
        return True

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        self._line.resized(height, width)

    def shell_requested(self) -> bool:
        return True

    def exec_requested(self, command: str) -> bool:
        self._command = command
        return len(command) <= MOST_COMMAND

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._line.received(data)

    def eof_received(self) -> bool:
        self._line.ended()
        return True  # we go on talking

    def pause_writing(self) -> None:
        self._line.pause()

    def resume_writing(self) -> None:
        self._line.resume()

    def session_started(self) -> None:
        self._serving = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        status = 255
        request_id = uuid.uuid4().hex
        try:
            with self._server.host.through(request_id, self._connection.address):
                status = await self._answer(request_id)
        finally:
            with suppress(OSError):
                self._channel.exit(status)

    async def _answer(self, request_id: str) -> int:
        try:
            return await self._carry_out()
        except OSError:
            return 255  # the client has gone
        except UserError as exc:
            return await self._complain(exc)
        except Exception as exc:
            log.exception("ssh_command_failed")
            what = exc.message if isinstance(exc, Failure) else "Something went wrong on our side."
            return await self._complain(Failure(what, hint=f"Tell the platform's admin this number: {request_id}"))

    async def _carry_out(self) -> int:
        connection, host, line = self._connection, self._server.host, self._line
        # Again for each command: the connection may be hours old.
        identity = await self._server.calls.run(host.identify, connection.fingerprint)
        if identity is None:
            raise UserError("Your key is no longer known here.", hint=host.refusal([connection.fingerprint]))
        git = parse_command(self._command)
        if git is None:
            return await host.run(identity, Request(self._command, line, self._terminal))
        access = await self._server.calls.run(host.open, identity, git.app_name, git.service)
        if git.service == "git-receive-pack":
            return await self._server.git.receive(access, line)
        protocol = self._channel.get_environment().get("GIT_PROTOCOL", "")
        return await self._server.git.upload(access, line, protocol)

    async def _complain(self, failure: Failure) -> int:
        # A terminal that is not ours to set up shows a line feed alone as a staircase.
        end = "\r\n" if self._terminal is not None else "\n"
        lines = [line for text in (failure.message, failure.hint) for line in text.splitlines()]
        with suppress(OSError):
            await self._line.say("".join(f" !     {plain(line)}{end}" for line in lines).encode(), is_error=True)
        return 1 if isinstance(failure, UserError) else 70
