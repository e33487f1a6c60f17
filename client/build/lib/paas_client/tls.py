"""A platform's own CA: fetched from it at the first login, and trusted once a person has compared its fingerprint."""

from __future__ import annotations

import hashlib
import ssl

import httpx

from paas_client.api import cannot_connect
from paas_client.errors import UserProblem
from paas_client.transport import Transport


def fingerprint(pem: str) -> str:
    """SHA-256 of the first certificate: `AB:CD:…`, as openssl prints it. Raises `UserProblem`."""
    end = "-----END CERTIFICATE-----"
    try:
        der = ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERTIFICATE-----") : pem.index(end) + len(end)] + "\n")
    except ValueError as exc:
        raise UserProblem("What the platform sent as its CA is no certificate.", id="bad_ca") from exc
    digest = hashlib.sha256(der).hexdigest().upper()
    return ":".join(digest[n : n + 2] for n in range(0, len(digest), 2))


def same(first: str, second: str) -> bool:
    """Whether two fingerprints are one, however they are written."""
    plain = [text.lower().removeprefix("sha256").strip(":= ").replace(":", "") for text in (first, second)]
    return plain[0] == plain[1]


def unchecked() -> httpx.BaseTransport:
    """For `fetch_ca` alone: takes whatever certificate it is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return Transport(context=context)


def fetch_ca(url: str, path: str, transport: httpx.BaseTransport) -> str | None:
    """What the platform says its CA is, over a connection that proves nothing; None when it has none to offer. Nothing
    but this is ever asked without a check. Raises `Problem`."""
    with httpx.Client(transport=transport, timeout=10, trust_env=False) as client:
        try:
            answer = client.get(f"{url}{path}", headers={"Accept": "application/x-pem-file, */*"})
        except httpx.TransportError as exc:
            raise cannot_connect(url, exc) from exc
    is_pem = answer.status_code == 200 and "-----BEGIN CERTIFICATE-----" in answer.text
    return answer.text if is_pem else None
