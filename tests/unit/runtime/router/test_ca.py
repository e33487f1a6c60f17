from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import PolicyBuilder, Store

from runtime.errors import InvalidInput
from runtime.router.ca import CaFiles, check_pair, ensure_ca, issue

NAMES = ("*.apps.localhost", "apps.localhost", "127.0.0.1")


@pytest.fixture
def authority(tmp_path: Path) -> CaFiles:
    return ensure_ca(tmp_path / "ca")


def leaf(chain: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificates(chain)[0]


def test_a_browser_that_trusts_the_authority_trusts_what_it_issues(authority: CaFiles) -> None:
    _, chain = issue(authority, NAMES)
    trusted = Store([x509.load_pem_x509_certificate(authority.certificate.read_bytes())])
    verifier = PolicyBuilder().store(trusted).build_server_verifier(x509.DNSName("shop.apps.localhost"))
    assert len(verifier.verify(leaf(chain), [])) == 2


def test_a_certificate_is_for_all_names_and_397_days(authority: CaFiles) -> None:
    key, chain = issue(authority, NAMES)
    certificate = leaf(chain)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["*.apps.localhost", "apps.localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(days=397)
    public_key = certificate.public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    assert public_key.curve.name == "secp256r1"
    check_pair(key, chain)


def test_the_keys_are_for_the_owner_alone(authority: CaFiles) -> None:
    assert authority.key.stat().st_mode & 0o777 == 0o600


def test_the_authority_is_made_once(authority: CaFiles) -> None:
    before = authority.certificate.read_bytes(), authority.key.read_bytes()
    assert ensure_ca(authority.key.parent) == authority
    assert (authority.certificate.read_bytes(), authority.key.read_bytes()) == before


def test_half_an_authority_is_made_again(authority: CaFiles) -> None:
    authority.certificate.unlink()
    again = ensure_ca(authority.key.parent)
    check_pair(again.key.read_bytes(), again.certificate.read_bytes())


def test_a_certificate_is_kept_while_it_is_good(authority: CaFiles) -> None:
    existing = issue(authority, NAMES)
    assert issue(authority, NAMES, existing=existing) == existing


def test_a_certificate_is_made_anew_when_it_is_about_to_end(authority: CaFiles) -> None:
    existing = issue(authority, NAMES, days=29)
    renewed = issue(authority, NAMES, existing=existing)
    assert leaf(renewed[1]).not_valid_after_utc > datetime.now(UTC) + timedelta(days=390)


def test_a_certificate_is_made_anew_for_other_names_or_by_another_authority(authority: CaFiles, tmp_path: Path) -> None:
    existing = issue(authority, NAMES)
    assert issue(authority, ("other.localhost",), existing=existing) != existing
    assert issue(ensure_ca(tmp_path / "other"), NAMES, existing=existing) != existing
    assert issue(authority, NAMES, existing=(b"", b"no certificate")) != existing


def test_a_key_of_another_certificate_is_noticed(authority: CaFiles) -> None:
    key, _ = issue(authority, NAMES)
    _, chain = issue(authority, NAMES)
    with pytest.raises(InvalidInput, match="does not belong"):
        check_pair(key, chain)
    with pytest.raises(InvalidInput, match="can't be read"):
        check_pair(b"nothing", chain)


def test_a_name_that_can_not_be_in_a_certificate_is_refused(authority: CaFiles) -> None:
    for names in ((), ("bücher.example",)):
        with pytest.raises(InvalidInput):
            issue(authority, names)
