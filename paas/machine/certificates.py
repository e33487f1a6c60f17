"""Certificates of the platform's own names: of its own authority, or of files that the operator names."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import structlog

from paas.core.files import write
from paas.env import Env
from paas.wiring import router
from runtime.errors import InvalidInput, UserError
from runtime.router import ca

log = structlog.get_logger()
Pair = tuple[bytes, bytes]  # key, chain


def platform_certificates(env: Env) -> Mapping[str, Pair]:
    """What is shown, by name. Makes the authority and its certificate where there is none yet, or too old a one. Raises
    `InvalidInput` for given files that can't be used."""
    own = own_certificate(env)
    given = given_certificate(env)
    names = [name for name in env.own_names if name not in {"127.0.0.1", "::1"}]
    return {name: given if given is not None and ca.covers(given[1], name) else own for name in names}


def own_certificate(env: Env) -> Pair:
    """Of our own authority, for all names; in files as well, for the processes that speak TLS themselves."""
    authority = ca.ensure_ca(env.ca_file.parent)
    key_file, chain_file = env.own_certificate
    existing = _read(key_file, chain_file) if key_file.exists() and chain_file.exists() else None
    pair = ca.issue(authority, env.own_names, existing=existing)
    if pair != existing:
        write(key_file, pair[0].decode(), mode=0o600)
        write(chain_file, pair[1].decode(), mode=0o600)
    return pair


def given_certificate(env: Env) -> Pair | None:
    """Of PAAS_TLS_CERT and PAAS_TLS_KEY. Raises `InvalidInput`."""
    if env.tls_certificate is None or env.tls_key is None:
        return None
    try:
        pair = _read(env.tls_key, env.tls_certificate)
    except OSError as exc:
        raise InvalidInput(
            f"{exc.filename} can't be read: {exc.strerror}.",
            hint="PAAS_TLS_CERT and PAAS_TLS_KEY name two files.",
            id="bad_certificate",
        ) from exc
    ca.check_pair(*pair)
    begins, ends = ca.lifetime(pair[1])
    now = datetime.now(UTC)
    if not begins <= now < ends:
        said = f"ended on {ends:%Y-%m-%d}" if ends <= now else f"begins on {begins:%Y-%m-%d}"
        raise InvalidInput(f"The certificate in {env.tls_certificate} {said}.", hint="Renew it.", id="bad_certificate")
    if not any(ca.covers(pair[1], name) for name in env.own_names):
        raise InvalidInput(
            f"The certificate in {env.tls_certificate} is for {', '.join(ca.names_of(pair[1])[:5]) or 'no name'}.",
            hint=f"Give one for *.{env.domain}, or for dashboard.{env.domain} and the other names of the platform.",
            id="bad_certificate",
        )
    return pair


def renew_certificates(env: Env) -> list[str]:
    """Show what has changed since: files that were renewed, an own one that was about to end. The names concerned."""
    try:
        wanted = platform_certificates(env)
    except UserError as exc:
        # Half of a renewal, perhaps. What is shown stays until the next look.
        log.warning("certificate_not_renewed", message=exc.message)
        return []
    changed = [name for name, pair in wanted.items() if router().certificate(name) != pair]
    for name in changed:
        router().put_certificate(name, key_pem=wanted[name][0], chain_pem=wanted[name][1])
    if changed:
        log.info("certificates_renewed", names=changed)
    return changed


def _read(key: Path, chain: Path) -> Pair:
    return key.read_bytes(), chain.read_bytes()
