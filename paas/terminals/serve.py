"""Both servers in one loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial

import asyncssh
import structlog

from paas.env import Env
from paas.machine.certificates import own_certificate
from paas.terminals.commands import Pools
from paas.terminals.platform import PlatformHost, PlatformTerminals, with_database
from paas.terminals.rendezvous import Certificates, Pair, RendezvousServer
from paas.terminals.ssh import SshServer, ensure_host_key
from paas.terminals.threads import Threads
from runtime.router.ca import covers

log = structlog.get_logger()

MOST_CALLS = 6
MOST_PUSHES = 24  # as over HTTP
MOST_RUNS = 32
ENDING_SECONDS = 5.0  # for clients to hear why


def certificate_for(env: Env, name: str) -> Pair:
    """The operator's, if it is for this name; that of our own authority otherwise."""
    if env.tls_certificate is not None and env.tls_key is not None and name:
        with contextlib.suppress(OSError, ValueError):
            if covers(env.tls_certificate.read_bytes(), name):
                return env.tls_key, env.tls_certificate
    return env.own_certificate


async def serve(env: Env, stop: asyncio.Event) -> None:
    """Until `stop`."""
    asyncssh.set_log_level(logging.ERROR)  # it tells of every client; what counts we say ourselves
    calls, pushes, runs = (
        Threads(name, most, with_database)
        for name, most in (("call", MOST_CALLS), ("push", MOST_PUSHES), ("run", MOST_RUNS))
    )
    ssh = SshServer(PlatformHost(Pools(calls, runs)), calls=calls, pushes=pushes)
    terminals = RendezvousServer(PlatformTerminals(), calls=calls, runs=runs)
    if env.ssh_port:
        ensure_host_key(env.ssh_host_key)
        await ssh.listen(env.http_address, env.ssh_port, env.ssh_host_key)
    if env.rendezvous_port:
        await calls.run(own_certificate, env)  # there has to be one
        certificates = Certificates(partial(certificate_for, env))
        await terminals.listen(env.http_address, env.rendezvous_port, certificates)
    log.info("terminals_ready", ssh=env.ssh_port, rendezvous=env.rendezvous_port)
    await stop.wait()
    terminals.close()
    await ssh.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ENDING_SECONDS):
            await pushes.idle.wait()
            await runs.idle.wait()
