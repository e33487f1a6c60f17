"""Tokens that a registry takes from us: JSON web tokens as distribution's `auth: token` wants them.

The certificate travels in each token (`x5c`), and the registry trusts the one it was given at its start; that spares us
libtrust's fingerprint of the key, the only other way that distribution 2.8 knows.
"""

from __future__ import annotations

import base64
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from runtime.errors import InvalidInput
from runtime.registry.names import SERVICE

LIFETIME_SECONDS = 300
EARLY_SECONDS = 10  # clocks differ
SCOPE = re.compile(r"(?P<kind>[a-z0-9]+)(?:\([a-z0-9]+\))?:(?P<name>[^,\s]+):(?P<actions>[a-z*]+(?:,[a-z*]+)*)")


@dataclass(frozen=True, slots=True)
class Access:
    """What a token is good for: `repository`, `shop/web`, `pull` and `push`."""

    kind: str
    name: str
    actions: tuple[str, ...]

    @classmethod
    def parse(cls, scope: str) -> Access:
        """Of `repository:shop/web:pull,push`. Raises `InvalidInput`."""
        match = SCOPE.fullmatch(scope)
        if match is None or len(scope) > 500:
            raise InvalidInput(f"{scope[:100]!r} is no scope of a registry.", id="invalid_scope")
        return cls(match["kind"], match["name"], tuple(dict.fromkeys(match["actions"].split(","))))

    def to_json(self) -> dict[str, object]:
        return {"type": self.kind, "name": self.name, "actions": list(self.actions)}


class TokenIssuer:
    """Safe in threads."""

    def __init__(self, key_pem: bytes, certificate_pem: bytes) -> None:
        key = serialization.load_pem_private_key(key_pem, password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key
        self._public = key.public_key()
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        self._chain = [base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()]

    def issue(self, subject: str, access: Sequence[Access], *, seconds: int = LIFETIME_SECONDS) -> str:
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": SERVICE,
            "aud": SERVICE,
            "sub": subject,
            "iat": now,
            "nbf": now - EARLY_SECONDS,
            "exp": now + seconds,
            "jti": secrets.token_hex(16),
            "access": [each.to_json() for each in access],
        }
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"x5c": self._chain})

    def access_of(self, token: str) -> Sequence[Access] | None:
        """What a token of our own is good for; None when it is none, or over."""
        try:
            claims = jwt.decode(token, self._public, algorithms=["ES256"], audience=SERVICE, issuer=SERVICE)
        except jwt.PyJWTError:
            return None
        return [Access(str(a["type"]), str(a["name"]), tuple(a["actions"])) for a in claims.get("access") or ()]


def make_key(key_file: Path, certificate_file: Path) -> None:
    """Once: files that are there stay. The registry has to be started anew when they are replaced."""
    if key_file.exists() and certificate_file.exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "paas registry tokens")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=36500))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for file, content, mode in ((key_file, private, 0o600), (certificate_file, certificate.public_bytes(pem), 0o644)):
        file.unlink(missing_ok=True)
        file.touch(mode=mode)
        file.write_bytes(content)
