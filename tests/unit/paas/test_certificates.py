"""Which certificate the platform shows for which of its names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from paas import env as environment
from paas.env import Env
from paas.host.services import make_home
from paas.machine import certificates
from paas.wiring import replaced
from runtime.errors import InvalidInput
from runtime.router import ca
from runtime.router.memory import MemoryRouter


def make_env(home: Path, **variables: str) -> Env:
    env = environment.load({"PAAS_HOME": str(home), "PAAS_DOMAIN": "apps.example.com", **variables})
    make_home(env)
    return env


def given_files(folder: Path, *names: str, days: int = 90) -> dict[str, str]:
    """Of another authority, as an operator brings them."""
    key, chain = ca.issue(ca.ensure_ca(folder / "theirs"), names, days=days)
    (folder / "key.pem").write_bytes(key)
    (folder / "chain.pem").write_bytes(chain)
    return {"PAAS_TLS_CERT": str(folder / "chain.pem"), "PAAS_TLS_KEY": str(folder / "key.pem")}


def issuer_of(pair: tuple[bytes, bytes]) -> x509.Name:
    return x509.load_pem_x509_certificates(pair[1])[0].issuer


def test_the_first_start_makes_an_authority_and_a_certificate_for_every_name(tmp_path):
    env = make_env(tmp_path / "home")
    shown = certificates.platform_certificates(env)
    assert {"*.apps.example.com", "apps.example.com", "*.localhost.apps.example.com", "localhost"} <= set(shown)
    (pair,) = set(shown.values())
    for name in (
        "dashboard.apps.example.com", "api.apps.example.com", "git.apps.example.com", "registry.apps.example.com",
        "shop.apps.example.com", "api.localhost.apps.example.com", "localhost", "127.0.0.1", "::1",
    ):  # fmt: skip
        assert ca.covers(pair[1], name), name
    assert not ca.covers(pair[1], "a.shop.apps.example.com")
    assert issuer_of(pair) == x509.load_pem_x509_certificate(env.ca_file.read_bytes()).subject
    key_file, chain_file = env.own_certificate
    assert (key_file.read_bytes(), chain_file.read_bytes()) == pair
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert certificates.platform_certificates(env) == shown


def test_given_files_are_shown_where_they_fit_and_our_own_elsewhere(tmp_path):
    env = make_env(tmp_path / "home", **given_files(tmp_path, "*.apps.example.com", "apps.example.com"))
    shown = certificates.platform_certificates(env)
    theirs = certificates.given_certificate(env)
    assert shown["*.apps.example.com"] == shown["apps.example.com"] == shown["api.apps.example.com"] == theirs
    assert shown["localhost"] == shown["*.localhost.apps.example.com"] != theirs


def test_a_certificate_for_single_names_is_shown_for_these(tmp_path):
    env = make_env(tmp_path / "home", **given_files(tmp_path, "dashboard.apps.example.com"))
    shown = certificates.platform_certificates(env)
    assert shown["dashboard.apps.example.com"] == certificates.given_certificate(env)
    assert shown["*.apps.example.com"] != shown["dashboard.apps.example.com"]


def expired(folder: Path) -> None:
    given_files(folder, "*.apps.example.com", days=0)


def for_others(folder: Path) -> None:
    given_files(folder, "www.example.org")


def of_another_key(folder: Path) -> None:
    key, _ = ca.self_signed(["*.apps.example.com"])
    (folder / "key.pem").write_bytes(key)


def garbage(folder: Path) -> None:
    (folder / "chain.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")


def missing(folder: Path) -> None:
    (folder / "key.pem").unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (expired, r"chain\.pem ended on 20"),
        (for_others, r"is for www\.example\.org"),
        (of_another_key, "key does not belong"),
        (garbage, "can't be read"),
        (missing, r"key\.pem can't be read: No such file"),
    ],
)
def test_a_certificate_that_can_not_work_is_refused_in_words(tmp_path, spoil, said):
    env = make_env(tmp_path / "home", **given_files(tmp_path, "*.apps.example.com"))
    spoil(tmp_path)
    with pytest.raises(InvalidInput, match=said) as refused:
        certificates.platform_certificates(env)
    assert refused.value.id == "bad_certificate"


@pytest.mark.parametrize("one", ["PAAS_TLS_CERT", "PAAS_TLS_KEY"])
def test_a_certificate_without_its_key_is_refused_at_once(tmp_path, one):
    with pytest.raises(environment.BadEnvironment, match="PAAS_TLS_KEY"):
        environment.load({"PAAS_HOME": str(tmp_path), one: "/etc/paas.pem"})


def test_renewed_files_are_shown_and_broken_ones_are_not(tmp_path):
    names = ("*.apps.example.com", "apps.example.com")
    env = make_env(tmp_path / "home", **given_files(tmp_path, *names))
    router = MemoryRouter()
    with replaced(router=router):
        assert "*.apps.example.com" in certificates.renew_certificates(env)
        assert certificates.renew_certificates(env) == []
        before = router.certificate("*.apps.example.com")
        assert before
        (tmp_path / "chain.pem").write_bytes(before[1][: len(before[1]) // 2])
        assert certificates.renew_certificates(env) == []
        assert router.certificate("*.apps.example.com") == before
        given_files(tmp_path, *names)
        assert set(names) <= set(certificates.renew_certificates(env))
        assert router.certificate("*.apps.example.com") == certificates.given_certificate(env) != before


def test_our_own_certificate_is_renewed_before_it_ends(tmp_path):
    env = make_env(tmp_path / "home")
    router = MemoryRouter()
    authority = ca.ensure_ca(env.ca_file.parent)
    about_to_end = ca.issue(authority, env.own_names, days=ca.RENEW_DAYS - 1)
    for file, content in zip(env.own_certificate, about_to_end, strict=True):
        file.write_bytes(content)
    with replaced(router=router):
        certificates.renew_certificates(env)
    shown = router.certificate("localhost")
    assert shown
    _, ends = ca.lifetime(shown[1])
    assert ends > datetime.now(UTC) + timedelta(days=300)


def test_a_platform_named_localhost_needs_no_second_name(tmp_path):
    env = environment.load({"PAAS_HOME": str(tmp_path), "PAAS_HTTPS_PORT": "0"})
    assert env.door_domains == ("localhost",)
    assert env.heroku_domain == "localhost"
    assert "localhost.localhost" not in env.own_names


def test_the_addresses_of_the_doors_leave_usual_ports_out(tmp_path):
    env = environment.load({"PAAS_HOME": str(tmp_path), "PAAS_DOMAIN": "apps.example.com", "PAAS_SSH_PORT": "22"})
    assert env.api_url == "https://api.apps.example.com"
    assert env.ssh_url == "ssh://git@git.apps.example.com"
    off = environment.load(
        {
            "PAAS_HOME": str(tmp_path),
            "PAAS_HTTPS_PORT": "0",
            "PAAS_HTTP_PORT": "8080",
            "PAAS_SSH_PORT": "2222",
            "PAAS_API_PORT": "0",
        }
    )
    assert (off.api_url, off.api_local_url, off.ssh_url) == (
        "http://api.localhost:8080",
        "",
        "ssh://git@git.localhost:2222",
    )
