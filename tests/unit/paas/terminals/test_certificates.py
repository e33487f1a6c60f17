"""Which certificate a client of the terminals is shown."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from django.conf import settings

from paas.terminals.rendezvous import Certificates, Pair
from paas.terminals.serve import certificate_for
from runtime.router.ca import self_signed


def made(folder: Path, name: str) -> Pair:
    key, chain = folder / f"{name}.key", folder / f"{name}.pem"
    for file, content in zip((key, chain), self_signed([name]), strict=True):
        file.write_bytes(content)
    return key, chain


def test_each_name_has_its_own_and_is_loaded_once(tmp_path: Path):
    pairs = {"": made(tmp_path, "localhost"), "paas.example.com": made(tmp_path, "paas.example.com")}
    certificates = Certificates(lambda name: pairs[name])
    first = certificates._context("paas.example.com")
    assert certificates._context("paas.example.com") is first
    assert certificates._context("") is certificates.context is not first


def test_what_was_renewed_is_shown_and_half_a_renewal_is_not(tmp_path: Path):
    pair = made(tmp_path, "localhost")
    certificates = Certificates(lambda _: pair)
    before = certificates._context("")
    later = pair[1].stat().st_mtime_ns + 1_000_000_000

    pair[1].write_bytes(self_signed(["localhost"])[1])  # of another key
    os.utime(pair[1], ns=(later, later))
    assert certificates._context("") is before

    for file, content in zip(pair, self_signed(["localhost"]), strict=True):
        file.write_bytes(content)
        os.utime(file, ns=(later + 1, later + 1))
    assert certificates._context("") is not before


@pytest.mark.parametrize(
    ("name", "is_given"), [("apps.example.com", True), ("localhost", False), ("", False), ("other.example.com", False)]
)
def test_the_operators_certificate_is_for_its_own_names_alone(tmp_path: Path, name: str, is_given: bool):
    key, chain = made(tmp_path, "apps.example.com")
    env = dataclasses.replace(settings.ENV, tls_key=key, tls_certificate=chain)
    assert certificate_for(env, name) == ((key, chain) if is_given else env.own_certificate)
    chain.unlink()
    assert certificate_for(env, name) == env.own_certificate
