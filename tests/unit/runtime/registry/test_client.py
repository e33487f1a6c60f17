from __future__ import annotations

import os
from collections.abc import Callable

import httpx
import pytest

from runtime.errors import DigestMismatch, ManifestUnknown, RegistryError, RegistryUnavailable
from runtime.images import canonical_json, sha256_digest
from runtime.images.values import OCI_INDEX
from runtime.registry import Credentials, Registry
from tests.unit.runtime.registry.contract import RegistryContract, make_image, make_layer
from tests.unit.runtime.registry.registry_app import Answer, RegistryApp, transport_for


def client_of(app: RegistryApp, credentials: Credentials | None = None, chunk_bytes: int = 1 << 26) -> Registry:
    return Registry(
        "http://registry.test",
        credentials=credentials,
        transport=transport_for(app),
        backoff_seconds=0.0,
        chunk_bytes=chunk_bytes,
    )


def times(count: int, method: str, part: str, answer: Answer | Exception) -> Callable[[str, str], Answer | None]:
    """Trouble with the first `count` requests of this kind."""
    left = [count]

    def trouble(asked: str, path: str) -> Answer | None:
        if asked == method and part in path and left[0]:
            left[0] -= 1
            if isinstance(answer, Exception):
                raise answer
            return answer
        return None

    return trouble


@pytest.fixture
def app() -> RegistryApp:
    return RegistryApp()


class TestContract(RegistryContract):
    @pytest.fixture(params=["open", "basic", "bearer"])
    def app(self, request: pytest.FixtureRequest) -> RegistryApp:
        if request.param == "open":
            return RegistryApp()
        return RegistryApp(user="alice", password="secret", bearer=request.param == "bearer")

    @pytest.fixture
    def registry(self, app: RegistryApp) -> Registry:
        return client_of(app, Credentials("alice", "secret"))

    @pytest.fixture
    def small_pieces(self, app: RegistryApp) -> Registry:
        return client_of(app, Credentials("alice", "secret"), chunk_bytes=65536)


def test_wrong_credentials_are_named_as_such(app):
    app.user, app.password = "alice", "secret"
    with pytest.raises(RegistryError) as caught:
        client_of(app, Credentials("alice", "wrong")).ping()
    assert caught.value.id == "registry_auth"
    app.bearer = True
    with pytest.raises(RegistryError) as caught:
        client_of(app, Credentials("alice", "wrong")).ping()
    assert caught.value.id == "registry_auth"


def test_a_token_is_fetched_once_for_its_scopes_and_again_when_it_was_revoked(app):
    app.user, app.password, app.bearer = "alice", "secret", True
    registry = client_of(app, Credentials("alice", "secret"))
    for _ in range(3):
        registry.has_blob("a/b", sha256_digest(b"x"))
    assert app.seen.count("GET /token") == 1
    app.tokens.clear()
    assert not registry.has_blob("a/b", sha256_digest(b"x"))
    assert app.seen.count("GET /token") == 2


def test_a_mount_asks_for_both_repositories_at_once(app, tmp_path):
    app.user, app.password, app.bearer = "alice", "secret", True
    registry, layer = client_of(app, Credentials("alice", "secret")), make_layer(tmp_path)
    registry.push_blob("one", layer)
    registry.push_blob("two", layer, mount_from="one")
    assert {"repository:one:pull", "repository:two:pull,push"} in app.tokens.values()


def test_a_platform_that_issues_the_tokens_mints_its_own(app):
    app.user, app.bearer = "nobody", True

    def mint(scopes: tuple[str, ...]) -> str:
        app.tokens["minted"] = {*app.tokens.get("minted", ()), *scopes}
        return "minted"

    registry = client_of(app, Credentials(mint=mint))
    registry.ping()
    assert registry.push_blob("a/b", b"content")
    assert "GET /token" not in app.seen


def test_a_password_never_shows_in_a_representation():
    assert "secret" not in repr(Credentials("alice", "secret"))


@pytest.mark.parametrize("trouble", [Answer(503), httpx.ConnectError("refused"), httpx.ReadTimeout("late")], ids=repr)
def test_trouble_that_passes_is_not_noticed(app, tmp_path, trouble):
    registry, layer = client_of(app), make_layer(tmp_path)
    for method in ("HEAD", "POST", "PUT"):
        app.trouble = times(2, method, "/blobs/", trouble)
        fresh = make_layer(tmp_path)
        assert registry.push_blob("a/b", fresh) is True
    registry.push_blob("a/b", layer)
    for method, part in (("PUT", "/manifests/"), ("GET", "/manifests/"), ("GET", "/blobs/")):
        app.trouble = times(2, method, part, trouble)
        registry.put_image("a/b", make_image(layer), "v1")
        assert registry.get_image("a/b", "v1").digest == make_image(layer).digest


def test_a_registry_that_stays_away_is_unavailable(app):
    app.trouble = times(99, "GET", "", httpx.ConnectError("refused"))
    with pytest.raises(RegistryUnavailable, match="does not answer"):
        client_of(app).get_image("a/b", "v1")
    app.trouble = times(99, "GET", "", Answer(502))
    with pytest.raises(RegistryUnavailable, match="502"):
        client_of(app).get_image("a/b", "v1")


def test_an_interrupted_upload_goes_on_where_it_broke(app, tmp_path):
    registry, layer = client_of(app, chunk_bytes=65536), make_layer(tmp_path, os.urandom(250_000))
    app.trouble = lambda method, path: (
        broken(method) if len([s for s in app.seen if s.startswith("PATCH")]) == 3 else None
    )

    def broken(method: str) -> Answer | None:
        return Answer(502) if method == "PATCH" else None

    assert registry.push_blob("a/b", layer) is True
    assert app.blobs["a/b"][layer.descriptor.digest] == layer.path.read_bytes()
    assert len([s for s in app.seen if s.startswith("PATCH")]) == 5  # four pieces, one of them twice
    assert len([s for s in app.seen if s.startswith("POST")]) == 1


def test_an_upload_the_registry_forgot_begins_again(app, tmp_path):
    registry, layer = client_of(app, chunk_bytes=65536), make_layer(tmp_path, os.urandom(250_000))

    def forget(method: str, path: str) -> Answer | None:
        if method == "PATCH" and len([s for s in app.seen if s.startswith("PATCH")]) == 2:
            app.uploads.clear()
            return Answer(503)
        return None

    app.trouble = forget
    assert registry.push_blob("a/b", layer) is True
    assert app.blobs["a/b"][layer.descriptor.digest] == layer.path.read_bytes()


def test_layers_travel_when_the_registry_cannot_mount(app, tmp_path):
    app.mounts = False
    registry, layer = client_of(app), make_layer(tmp_path)
    registry.push_blob("one", layer)
    assert registry.mount_layers("two", make_image(layer), "one") == (layer.descriptor.digest,)
    assert app.blobs["two"][layer.descriptor.digest] == layer.path.read_bytes()


def test_an_index_is_copied_with_all_it_lists_whether_or_not_the_registry_can_mount(app, tmp_path):
    registry, layer = client_of(app), make_layer(tmp_path)
    registry.push_blob("one", layer)
    image = make_image(layer)
    registry.put_image("one", image)
    entry = {"mediaType": image.media_type, "digest": image.digest, "size": len(image.manifest)}
    index = canonical_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]})
    app.manifests["one"][sha256_digest(index)] = (index, OCI_INDEX)
    for target, app.mounts in (("two", True), ("three", False)):
        assert registry.copy_image(sha256_digest(index), source="one", target=target)
        assert app.manifests[target].keys() == {image.digest, sha256_digest(index)}
        assert app.blobs[target][layer.descriptor.digest] == layer.path.read_bytes()


def test_a_blob_that_was_changed_in_the_registry_is_noticed(app, tmp_path):
    registry, layer = client_of(app), make_layer(tmp_path)
    registry.push_blob("a/b", layer)
    app.blobs["a/b"][layer.descriptor.digest] = b"something else"
    with pytest.raises(DigestMismatch):
        list(registry.get_blob("a/b", layer.descriptor.digest))


def test_a_manifest_that_was_changed_in_the_registry_is_noticed(app, tmp_path):
    registry, layer = client_of(app), make_layer(tmp_path)
    registry.push_blob("a/b", layer)
    image = make_image(layer)
    registry.put_image("a/b", image, "v1")
    content, media_type = app.manifests["a/b"][image.digest]
    app.manifests["a/b"][image.digest] = (content + b" ", media_type)
    with pytest.raises(DigestMismatch):
        registry.get_image("a/b", "v1")


def test_of_an_index_the_image_of_the_architecture_is_taken(app, tmp_path):
    registry, layer = client_of(app), make_layer(tmp_path)
    registry.push_blob("a/b", layer)
    image = make_image(layer)
    registry.put_image("a/b", image)
    entry = {"mediaType": image.media_type, "digest": image.digest, "size": len(image.manifest)}
    index = canonical_json({"manifests": [{**entry, "platform": {"os": "linux", "architecture": "riscv64"}}]})
    app.manifests["a/b"][sha256_digest(index)] = (index, OCI_INDEX)
    assert registry.get_image("a/b", sha256_digest(index), architecture="riscv64").digest == image.digest
    with pytest.raises(ManifestUnknown, match="only linux/riscv64"):
        registry.get_image("a/b", sha256_digest(index), architecture="s390x")


def test_a_reference_names_the_registry_for_the_engine(app):
    digest = sha256_digest(b"")
    assert client_of(app).reference("a/b", digest) == f"registry.test/a/b@{digest}"
    assert client_of(app).reference("a/b", "v1") == "registry.test/a/b:v1"
