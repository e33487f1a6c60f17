"""SSH keys: read, judged, kept."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import timedelta

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from django.db import IntegrityError, transaction
from django.utils import timezone

from paas.accounts.models import SSHKey, User
from paas.core import audit
from runtime.errors import Conflict, InvalidInput

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 16384  # checking a signature with more would take our time
MAX_LENGTH = 16 * 1024
USED_EVERY = timedelta(minutes=1)
ADVICE = "Make a good one with: ssh-keygen -t ed25519"


@dataclass(frozen=True, slots=True)
class PublicKey:
    kind: str
    bits: int
    text: str
    comment: str
    fingerprint: str


def parse_key(text: str) -> PublicKey:
    """One line of a .pub file. Raises `InvalidInput`."""
    text = text.strip()
    if "PRIVATE KEY" in text:
        raise _refused(
            "That is a private key. It should never leave your machine.",
            "Paste the public one, from the file that ends in .pub; and make a new pair, as this one has been shown.",
        )
    parts = text.split(None, 2)
    if len(text) > MAX_LENGTH or "\n" in text or "\r" in text or len(parts) < 2:
        raise _refused("This is not one line with an SSH public key.", "Paste the whole content of the .pub file.")
    kind, body = parts[0], parts[1]
    comment = "".join(char for char in parts[2] if char.isprintable())[:100] if len(parts) > 2 else ""
    if "cert-v01" in kind:
        raise _refused("This is a certificate, not a key.", "Paste the public key itself.")
    if kind == "ssh-dss":
        raise _refused("DSA keys are too weak to be of use.", ADVICE)
    try:
        blob = base64.b64decode(body, validate=True)
        key = load_ssh_public_key(f"{kind} {body}".encode())
    except (ValueError, UnsupportedAlgorithm, binascii.Error) as exc:
        raise _refused(
            "This is not an SSH public key that we know.",
            "It starts with ssh-ed25519, ecdsa-sha2-… or ssh-rsa; paste the whole content of the .pub file.",
        ) from exc
    return PublicKey(kind, _bits(key), f"{kind} {body}", comment, fingerprint(blob))


def fingerprint(blob: bytes) -> str:
    """As `ssh-keygen -l` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _bits(key: object) -> int:
    if isinstance(key, rsa.RSAPublicKey):
        if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            raise _refused(
                f"This RSA key has {key.key_size} bits; {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted.", ADVICE
            )
        return key.key_size
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.key_size
    if isinstance(key, ed25519.Ed25519PublicKey):
        return 256
    raise _refused(f"Keys of this kind ({type(key).__name__}) are not accepted.", ADVICE)


def _refused(message: str, hint: str) -> InvalidInput:
    return InvalidInput(message, hint=hint, id="invalid_ssh_key")


@transaction.atomic
def add_key(user: User, *, text: str, name: str = "", by: User) -> SSHKey:
    """Named after its comment unless told otherwise. Raises `InvalidInput`, and `Conflict` when somebody has it."""
    key = parse_key(text)
    try:
        with transaction.atomic():
            row = SSHKey.objects.create(
                user=user,
                name=" ".join(name.split())[:100] or key.comment or key.kind,
                kind=key.kind,
                bits=key.bits,
                public_key=key.text,
                fingerprint=key.fingerprint,
            )
    except IntegrityError as exc:
        raise Conflict(
            f"The key {key.fingerprint} is already in use on this platform.",
            hint="A key stands for one person. Make another one for this account: ssh-keygen -t ed25519",
            id="key_taken",
        ) from exc
    audit.record("key.add", by=by, after=_described(row), email=user.email)
    return row


@transaction.atomic
def remove_key(key: SSHKey, *, by: User) -> None:
    audit.record("key.remove", by=by, before=_described(key), email=key.user.email)
    key.delete()


def touch_key(key: SSHKey) -> None:
    """It was used just now. Written at most once a minute."""
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at > USED_EVERY:
        SSHKey.objects.filter(pk=key.pk).update(last_used_at=now)


def _described(key: SSHKey) -> dict[str, object]:
    return {"name": key.name, "kind": key.kind, "bits": key.bits, "fingerprint": key.fingerprint}
