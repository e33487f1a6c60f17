"""The registry as the platform configures it: no token, no answer; and each token for what it says."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from paas import env as environment
from paas.env import Env
from paas.host import services
from runtime.errors import RegistryError, RegistryUnavailable
from runtime.images.values import OCI_MANIFEST
from runtime.registry import Credentials, Registry
from runtime.registry.client import through_socket
from runtime.registry.tokens import Access, TokenIssuer, make_key
from tests.unit.runtime.registry.contract import RegistryContract, make_image, some_repository


@pytest.fixture(scope="module")
def env() -> Iterator[Env]:
    home = Path(tempfile.mkdtemp(prefix="paas-registry-", dir="/tmp"))
    env = environment.load({"PAAS_HOME": str(home)})
    services.make_home(env)
    services.make_secret(env.secret_file)
    services.write_configurations(env)
    try:
        with (home / "registry.log").open("wb") as log:
            process = subprocess.Popen(
                ["docker-registry", "serve", str(home / "registry" / "config.yml")], stdout=log, stderr=log
            )
        try:
            deadline = time.monotonic() + 30
            while not answers(env):
                assert process.poll() is None, (home / "registry.log").read_text()
                assert time.monotonic() < deadline, (home / "registry.log").read_text()
                time.sleep(0.02)
            yield env
        finally:
            process.terminate()
            process.wait(10)
    finally:
        shutil.rmtree(home)


def answers(env: Env) -> bool:
    try:
        return plain(env, "GET", "/v2/").status_code == 401
    except httpx.TransportError:
        return False


def plain(env: Env, method: str, path: str, token: str = "", content: bytes = b"") -> httpx.Response:
    headers = {"Accept": OCI_MANIFEST} | ({"Authorization": f"Bearer {token}"} if token else {})
    with httpx.Client(transport=through_socket(env.registry_socket), base_url="http://registry") as client:
        return client.request(method, path, headers=headers, content=content or None)


def issuer_of(env: Env) -> TokenIssuer:
    return TokenIssuer(*(file.read_bytes() for file in env.registry_key))


def ours(env: Env, **options: Any) -> Registry:
    tokens = issuer_of(env)
    credentials = Credentials(mint=lambda scopes: tokens.issue("paas", [Access.parse(scope) for scope in scopes]))
    return Registry(
        "http://127.0.0.1:1", credentials=credentials, transport=through_socket(env.registry_socket), **options
    )


class TestBundledRegistry(RegistryContract):
    """Our own client, with tokens that it mints itself, through the socket."""

    @pytest.fixture
    def registry(self, env: Env) -> Iterator[Registry]:
        with ours(env) as registry:
            yield registry

    @pytest.fixture
    def small_pieces(self, env: Env) -> Iterator[Registry]:
        with ours(env, chunk_bytes=65536) as registry:
            yield registry


@pytest.fixture
def pushed(env: Env) -> str:
    """A repository with an image in it."""
    repository = some_repository()
    image = make_image()
    with ours(env) as registry:
        registry.push_blob(repository, image.config)
        registry.put_image(repository, image, "latest")
    return repository


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/"), ("GET", "/v2/_catalog"), ("GET", "/v2/{}/tags/list"), ("GET", "/v2/{}/manifests/latest"),
        ("HEAD", "/v2/{}/manifests/latest"), ("PUT", "/v2/{}/manifests/latest"), ("DELETE", "/v2/{}/manifests/latest"),
        ("POST", "/v2/{}/blobs/uploads/"), ("GET", "/v2/{}/blobs/sha256:" + "0" * 64),
    ],
)  # fmt: skip
def test_without_a_token_nothing_is_answered(env: Env, pushed: str, method: str, path: str) -> None:
    stranger_key, stranger_certificate = env.home / "other.key", env.home / "other.pem"
    make_key(stranger_key, stranger_certificate)
    stranger = TokenIssuer(stranger_key.read_bytes(), stranger_certificate.read_bytes())
    everything = [Access("repository", pushed, ("pull", "push", "delete")), Access("registry", "catalog", ("*",))]
    for token in ("", "x", stranger.issue("paas", everything), issuer_of(env).issue("paas", everything, seconds=-120)):
        assert plain(env, method, path.format(pushed), token).status_code == 401


def test_a_token_is_good_for_its_repository_and_its_actions_alone(env: Env, pushed: str) -> None:
    tokens = issuer_of(env)
    pull = tokens.issue("bob", [Access("repository", pushed, ("pull",))])
    assert plain(env, "GET", f"/v2/{pushed}/manifests/latest", pull).status_code == 200
    assert plain(env, "POST", f"/v2/{pushed}/blobs/uploads/", pull).status_code == 401
    assert plain(env, "DELETE", f"/v2/{pushed}/manifests/latest", pull).status_code == 401
    assert plain(env, "GET", "/v2/elsewhere/web/manifests/latest", pull).status_code == 401
    push = tokens.issue("bob", [Access("repository", pushed, ("pull", "push"))])
    assert plain(env, "POST", f"/v2/{pushed}/blobs/uploads/", push).status_code == 202
    assert plain(env, "DELETE", f"/v2/{pushed}/manifests/latest", push).status_code == 401


def test_a_layer_is_lent_only_to_who_may_read_it(env: Env, pushed: str) -> None:
    secret = b"a layer of somebody else's"
    digest = f"sha256:{hashlib.sha256(secret).hexdigest()}"
    with ours(env) as registry:
        registry.push_blob(pushed, secret)
    thief = some_repository()
    own = Access("repository", thief, ("pull", "push"))
    mount = f"/v2/{thief}/blobs/uploads/?mount={digest}&from={pushed}"
    refused = plain(env, "POST", mount, issuer_of(env).issue("bob", [own]))
    assert refused.status_code == 401
    assert plain(env, "GET", f"/v2/{thief}/blobs/{digest}", issuer_of(env).issue("bob", [own])).status_code == 404
    both = issuer_of(env).issue("bob", [own, Access("repository", pushed, ("pull",))])
    assert plain(env, "POST", mount, both).status_code == 201


def test_an_upload_goes_on_where_it_began_whatever_name_one_uses(env: Env, pushed: str) -> None:
    token = issuer_of(env).issue("bob", [Access("repository", pushed, ("pull", "push"))])
    begun = plain(env, "POST", f"/v2/{pushed}/blobs/uploads/", token)
    assert begun.headers["Location"].startswith(f"/v2/{pushed}/blobs/uploads/")


def test_a_client_without_a_way_to_make_tokens_is_refused_in_words(env: Env, pushed: str) -> None:
    with Registry("http://127.0.0.1:1", transport=through_socket(env.registry_socket), tries=1) as registry:
        with pytest.raises((RegistryError, RegistryUnavailable)):
            registry.get_manifest(pushed, "latest")
        assert registry.engine_token() == ""
