"""A certificate authority of our own, for names that no public one certifies: `*.apps.localhost`, private networks."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from runtime.errors import InvalidInput

CA_DAYS = 3650
LEAF_DAYS = 397  # the longest that browsers accept
RENEW_DAYS = 30  # with fewer left a certificate is made anew


@dataclass(frozen=True, slots=True)
class CaFiles:
    """`certificate` is what people import into their browser; `key` never leaves the machine."""

    key: Path  # 0600
    certificate: Path


def ensure_ca(folder: Path, *, name: str = "paas local CA") -> CaFiles:
    """The authority kept in `folder` (ca.key, ca.pem); made when there is none or it ends within a leaf's life."""
    files = CaFiles(folder / "ca.key", folder / "ca.pem")
    folder.mkdir(parents=True, exist_ok=True)
    if files.key.exists() and files.certificate.exists():
        certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        if certificate.not_valid_after_utc - datetime.now(UTC) > timedelta(days=LEAF_DAYS):
            return files
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} {os.urandom(3).hex()}")])
    certificate = (
        _builder(subject, subject, key.public_key(), CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    # The certificate last: with only a key there, the next call starts over.
    files.certificate.unlink(missing_ok=True)
    write_file(files.key, _key_pem(key), mode=0o600)
    write_file(files.certificate, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
    return files


def issue(
    ca: CaFiles, names: Sequence[str], *, days: int = LEAF_DAYS, existing: tuple[bytes, bytes] | None = None
) -> tuple[bytes, bytes]:
    """(key, chain) as PEM for DNS names (also `*.example.com`) and IP addresses. `existing` is given back as long as it
    is of this authority, for the same names, and has more than 30 days left. Raises `InvalidInput`."""
    authority = x509.load_pem_x509_certificate(ca.certificate.read_bytes())
    if existing is not None and _is_current(existing[1], names, authority):
        return existing
    signer = serialization.load_pem_private_key(ca.key.read_bytes(), password=None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise InvalidInput("The key of the certificate authority is not an elliptic curve key.", id="bad_ca")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _leaf_builder(names, authority.subject, key, days)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    chain = certificate.public_bytes(serialization.Encoding.PEM) + ca.certificate.read_bytes()
    return _key_pem(key), chain


def self_signed(names: Sequence[str], *, days: int = CA_DAYS) -> tuple[bytes, bytes]:
    """(key, certificate) as PEM that nobody trusts: what a router shows for names it has no certificate for."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    certificate = _leaf_builder(names, issuer, key, days).sign(key, hashes.SHA256())
    return _key_pem(key), certificate.public_bytes(serialization.Encoding.PEM)


def check_pair(key_pem: bytes, chain_pem: bytes) -> None:
    """Raises `InvalidInput` unless the key is that of the chain's first certificate."""
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
        certificate = x509.load_pem_x509_certificates(chain_pem)[0]
    except (ValueError, TypeError) as exc:
        raise InvalidInput(f"The certificate or its key can't be read: {exc}", id="bad_certificate") from exc
    if key.public_key() != certificate.public_key():
        raise InvalidInput("The key does not belong to the certificate.", id="bad_certificate")


def names_of(chain_pem: bytes) -> list[str]:
    """DNS names and addresses that the chain's first certificate is for."""
    certificate = x509.load_pem_x509_certificates(chain_pem)[0]
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []  # nobody looks at the common name any more
    return [
        *names.get_values_for_type(x509.DNSName),
        *(str(address) for address in names.get_values_for_type(x509.IPAddress)),
    ]


def covers(chain_pem: bytes, name: str) -> bool:
    """Whether the chain's first certificate is for this name; a wildcard stands for one label."""
    return bool({name, f"*.{name.partition('.')[2]}"} & {each.lower() for each in names_of(chain_pem)})


def lifetime(chain_pem: bytes) -> tuple[datetime, datetime]:
    """From when on until when the chain's first certificate is good."""
    certificate = x509.load_pem_x509_certificates(chain_pem)[0]
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc


def write_file(path: Path, content: bytes, *, mode: int) -> None:
    """Whole or not at all, with its mode from the first byte on, and on the disk when this returns."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _is_current(chain_pem: bytes, names: Sequence[str], authority: x509.Certificate) -> bool:
    try:
        certificate = x509.load_pem_x509_certificates(chain_pem)[0]
        certificate.verify_directly_issued_by(authority)
        present = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:  # noqa: BLE001  # whatever is wrong with it: a new one will do
        return False
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    return set(present) == set(_general_names(names)) and left > timedelta(days=RENEW_DAYS)


def _leaf_builder(
    names: Sequence[str], issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])]) if names else x509.Name([])
    return (
        _builder(subject, issuer, key.public_key(), days)
        .add_extension(x509.SubjectAlternativeName(_general_names(names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    if not names:
        raise InvalidInput("A certificate needs at least one name.", id="bad_certificate")
    general: list[x509.GeneralName] = []
    for name in names:
        try:
            general.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            try:
                general.append(x509.DNSName(name))
            except ValueError as exc:
                raise InvalidInput(f"{name!r} can't be in a certificate: {exc}", id="bad_certificate") from exc
    return general


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks differ
        .not_valid_after(now - timedelta(hours=1) + timedelta(days=days))
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
