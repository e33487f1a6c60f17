"""Tokens for a registry, and the scopes that they are asked for with."""

from __future__ import annotations

import base64
import json

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from runtime.errors import InvalidInput
from runtime.registry.tokens import Access, TokenIssuer, make_key


@pytest.fixture
def issuer(tmp_path) -> TokenIssuer:
    make_key(tmp_path / "key", tmp_path / "certificate")
    return TokenIssuer((tmp_path / "key").read_bytes(), (tmp_path / "certificate").read_bytes())


def test_a_key_is_made_once_and_is_for_nobody_else(tmp_path):
    files = tmp_path / "key", tmp_path / "certificate"
    make_key(*files)
    before = [file.read_bytes() for file in files]
    make_key(*files)
    assert [file.read_bytes() for file in files] == before
    assert files[0].stat().st_mode & 0o777 == 0o600
    files[1].unlink()
    make_key(*files)
    assert [file.read_bytes() for file in files] != before


def test_a_token_brings_the_certificate_that_it_can_be_checked_with(issuer, tmp_path):
    token = issuer.issue("alice@example.com", [Access("repository", "shop/web", ("pull", "push"))])
    header = jwt.get_unverified_header(token)
    certificate = x509.load_der_x509_certificate(base64.b64decode(header["x5c"][0]))
    assert certificate == x509.load_pem_x509_certificate((tmp_path / "certificate").read_bytes())
    public_key = certificate.public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    claims = jwt.decode(token, public_key, algorithms=["ES256"], audience="paas", issuer="paas")
    assert claims["sub"] == "alice@example.com"
    assert claims["exp"] - claims["iat"] == 300
    assert claims["access"] == [{"type": "repository", "name": "shop/web", "actions": ["pull", "push"]}]


def test_only_a_token_of_ours_that_is_not_over_is_read_back(issuer, tmp_path):
    access = [Access("repository", "shop/web", ("pull",))]
    assert issuer.access_of(issuer.issue("paas", access)) == access
    make_key(tmp_path / "other", tmp_path / "others")
    other = TokenIssuer((tmp_path / "other").read_bytes(), (tmp_path / "others").read_bytes())
    head, body, _ = issuer.issue("paas", access).split(".")
    unsigned = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).decode().rstrip("=")
    for wrong in (
        issuer.issue("paas", access, seconds=-1),
        other.issue("paas", access),
        f"{head}.{body}.",
        f"{unsigned}.{body}.",
        "",
    ):
        assert issuer.access_of(wrong) is None


@pytest.mark.parametrize(
    ("text", "access"),
    [
        ("repository:shop/web:pull,push", Access("repository", "shop/web", ("pull", "push"))),
        ("repository:localhost:5000/shop/web:pull", Access("repository", "localhost:5000/shop/web", ("pull",))),
        ("repository(plugin):shop/web:pull,pull", Access("repository", "shop/web", ("pull",))),
        ("registry:catalog:*", Access("registry", "catalog", ("*",))),
    ],
)
def test_a_scope_is_read(text, access):
    assert Access.parse(text) == access


@pytest.mark.parametrize("text", ["", "repository", "repository:a", "repository:a b:pull", "repository:a:", ":a:pull"])
def test_what_is_no_scope_is_refused(text):
    with pytest.raises(InvalidInput) as refused:
        Access.parse(text)
    assert refused.value.id == "invalid_scope"
