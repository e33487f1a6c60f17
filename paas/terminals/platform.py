"""What the two servers ask of the platform."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

import structlog
from django.conf import settings
from django.db import close_old_connections, connection

from paas.accounts.models import SSHKey
from paas.accounts.selectors import active_key
from paas.accounts.services import touch_key
from paas.accounts.throttle import attempt, forgive
from paas.core import audit
from paas.gitserver.access import open_repository
from paas.runs.models import Run
from paas.runs.rendezvous import claim_terminal
from paas.runs.services import attach_to
from paas.terminals.commands import Commands, Pools
from paas.terminals.conversation import converse
from paas.terminals.line import Line
from paas.terminals.ssh import Request
from runtime.errors import Failure, UserError
from runtime.git.api import Access, Service

log = structlog.get_logger()
USUAL_WINDOW = (24, 80)  # of a client that does not say


@contextmanager
def with_database() -> Iterator[None]:
    """Around work in a thread: none of Django's request signals looks after its connection."""
    close_old_connections()
    try:
        yield
    finally:
        connection.close()


class PlatformHost:
    """For the SSH server. An identity is the key that somebody came with."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self._keys_page = f"{settings.ENV.address('dashboard')}/account/keys"

    def check_address(self, address: str) -> None:
        attempt(address=_counted(address))

    def identify(self, fingerprint: str) -> SSHKey | None:
        return active_key(fingerprint)

    def welcome(self, identity: SSHKey, address: str) -> None:
        forgive(address=_counted(address))
        touch_key(identity)

    def name(self, identity: SSHKey) -> str:
        return identity.user.email

    def refusal(self, fingerprints: list[str]) -> str:
        match fingerprints:
            case []:
                what = "No SSH key was offered. Make one with ssh-keygen -t ed25519, and add it"
            case [one]:
                what = f"The key {one} belongs to nobody here. Add it"
            case several:
                what = f"None of your {len(several)} SSH keys belongs to anybody here. Add one"
        return f" !     {what} at {self._keys_page}"

    def through(self, request_id: str, address: str) -> AbstractContextManager[None]:
        return audit.through("ssh", request_id, address)

    def open(self, identity: SSHKey, app_name: str, service: Service) -> Access:
        return open_repository(identity.user, app_name, service)

    async def run(self, identity: SSHKey, request: Request) -> int:
        return await Commands(identity.user, request, self._pools).run()


def _counted(address: str) -> str:
    """Keys can't be guessed, so these attempts are counted apart from those with passwords."""
    return f"ssh {address}" if address else ""


class PlatformTerminals:
    """For the rendezvous server."""

    def claim(self, secret: str) -> Run | None:
        return claim_terminal(secret)

    def serve(self, run: Run, line: Line) -> None:
        line.resized(*USUAL_WINDOW)
        line.resized(*(_size(run.environment.get(name)) for name in ("LINES", "COLUMNS")))
        try:
            with attach_to(run, window=line.window) as session:
                connection.close()  # for as long as it goes on
                converse(session, line, says_end=True)
        except Failure as exc:
            if not isinstance(exc, UserError):
                log.exception("run_not_attached", app=run.app.name, run=run.number)
            with suppress(OSError):
                line.write(f" !     {exc}\r\n".encode())


def _size(text: object) -> int:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 5 else 0
