"""What a registry client promises, whatever registry is behind it: in process in unit tests, the real one elsewhere."""

from __future__ import annotations

import io
import os
import tarfile
import uuid
from pathlib import Path

import pytest

from runtime.errors import DigestMismatch, ManifestUnknown, RegistryError
from runtime.images import Image, LayerFile, assemble, compress_layer, sha256_digest
from runtime.registry import Registry


def make_layer(folder: Path, content: bytes = b"") -> LayerFile:
    """A layer nobody has pushed before, unless its content is given."""
    content = content or uuid.uuid4().bytes
    path = folder / f"{uuid.uuid4().hex}.tar"
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("app/file")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return compress_layer(path, path.with_suffix(".gz"))


def make_image(*layers: LayerFile) -> Image:
    return assemble(Image.empty(), [file.layer for file in layers], command=["true"], environment={"A": "1"})


def some_repository() -> str:
    return f"tests/{uuid.uuid4().hex}"


class RegistryContract:
    """Subclasses give a `registry` fixture."""

    def test_a_registry_that_is_there_answers(self, registry: Registry) -> None:
        registry.ping()

    def test_a_blob_is_sent_once(self, registry: Registry, tmp_path: Path) -> None:
        repository, layer = some_repository(), make_layer(tmp_path)
        assert not registry.has_blob(repository, layer.descriptor.digest)
        assert registry.push_blob(repository, layer) is True
        assert registry.has_blob(repository, layer.descriptor.digest)
        assert registry.push_blob(repository, layer) is False
        assert b"".join(registry.get_blob(repository, layer.descriptor.digest)) == layer.path.read_bytes()

    def test_bytes_are_a_blob_too(self, registry: Registry) -> None:
        repository, content = some_repository(), uuid.uuid4().bytes
        assert registry.push_blob(repository, content) is True
        assert b"".join(registry.get_blob(repository, sha256_digest(content))) == content

    def test_a_blob_another_repository_has_is_not_sent_again(self, registry: Registry, tmp_path: Path) -> None:
        first, second, layer = some_repository(), some_repository(), make_layer(tmp_path)
        registry.push_blob(first, layer)
        assert registry.push_blob(second, layer, mount_from=first) is False
        assert registry.has_blob(second, layer.descriptor.digest)

    def test_a_blob_the_other_repository_lacks_is_sent(self, registry: Registry, tmp_path: Path) -> None:
        repository, layer = some_repository(), make_layer(tmp_path)
        assert registry.push_blob(repository, layer, mount_from=some_repository()) is True
        assert registry.has_blob(repository, layer.descriptor.digest)

    def test_a_large_blob_is_sent_in_pieces(self, small_pieces: Registry, tmp_path: Path) -> None:
        repository, layer = some_repository(), make_layer(tmp_path, os.urandom(300_000))
        assert small_pieces.push_blob(repository, layer) is True
        assert b"".join(small_pieces.get_blob(repository, layer.descriptor.digest)) == layer.path.read_bytes()

    def test_a_published_image_comes_back_by_tag_and_by_digest(self, registry: Registry, tmp_path: Path) -> None:
        repository, layer = some_repository(), make_layer(tmp_path)
        image = make_image(layer)
        registry.push_blob(repository, layer)
        assert registry.put_image(repository, image, "v1", "latest") == image.digest
        assert registry.get_image(repository, "v1") == image.in_repository(repository)
        assert registry.get_image(repository, image.digest) == image.in_repository(repository)
        assert registry.head_manifest(repository, "latest") == image.digest
        assert registry.tags(repository) == ["latest", "v1"]

    def test_an_image_needs_no_tag(self, registry: Registry, tmp_path: Path) -> None:
        repository, layer = some_repository(), make_layer(tmp_path)
        image = make_image(layer)
        registry.push_blob(repository, layer)
        registry.put_image(repository, image)
        assert registry.get_image(repository, image.digest).digest == image.digest

    def test_an_image_whose_layer_is_missing_is_refused_by_name(self, registry: Registry, tmp_path: Path) -> None:
        with pytest.raises(RegistryError) as caught:
            registry.put_image(some_repository(), make_image(make_layer(tmp_path)), "v1")
        assert caught.value.id == "manifest_blob_unknown"

    def test_an_image_nobody_pushed_is_unknown(self, registry: Registry) -> None:
        repository = some_repository()
        with pytest.raises(ManifestUnknown):
            registry.get_image(repository, "v1")
        assert registry.head_manifest(repository, "v1") is None
        assert registry.tags(repository) == []
        with pytest.raises(RegistryError) as caught:
            list(registry.get_blob(repository, sha256_digest(b"nothing")))
        assert caught.value.id == "blob_unknown"

    def test_layers_are_lent_to_another_repository(self, registry: Registry, tmp_path: Path) -> None:
        first, second, layer = some_repository(), some_repository(), make_layer(tmp_path)
        image = make_image(layer)
        registry.push_blob(first, layer)
        assert registry.mount_layers(second, image, first) == (layer.descriptor.digest,)
        assert registry.mount_layers(second, image, first) == ()
        registry.put_image(second, image, "v1")

    def test_an_image_is_copied_to_another_repository_under_the_same_digest(
        self, registry: Registry, tmp_path: Path
    ) -> None:
        first, second, layer = some_repository(), some_repository(), make_layer(tmp_path)
        image = make_image(layer)
        registry.push_blob(first, layer)
        registry.put_image(first, image, "v1")
        assert registry.copy_image(image.digest, source=first, target=second)
        assert not registry.copy_image(image.digest, source=first, target=second)
        registry.delete_manifest(first, image.digest)
        assert registry.get_image(second, image.digest).digest == image.digest
        assert b"".join(registry.get_blob(second, layer.descriptor.digest)) == layer.path.read_bytes()
        with pytest.raises(ManifestUnknown):
            registry.copy_image(sha256_digest(b"nothing"), source=first, target=second)

    def test_a_tag_can_be_moved_and_added(self, registry: Registry, tmp_path: Path) -> None:
        repository, images = some_repository(), []
        for _ in range(2):
            layer = make_layer(tmp_path)
            registry.push_blob(repository, layer)
            images.append(make_image(layer))
            registry.put_image(repository, images[-1], "latest")
        registry.tag(repository, images[0].digest, "stable")
        assert registry.head_manifest(repository, "latest") == images[1].digest
        registry.tag(repository, images[0].digest, "latest")
        assert registry.head_manifest(repository, "latest") == images[0].digest
        assert registry.tags(repository) == ["latest", "stable"]

    def test_many_tags_are_all_listed(self, registry: Registry, tmp_path: Path) -> None:
        repository, layer = some_repository(), make_layer(tmp_path)
        registry.push_blob(repository, layer)
        names = [f"v{number}" for number in range(1, 8)]
        registry.put_image(repository, make_image(layer), *names)
        assert registry.tags(repository) == names

    def test_a_deleted_image_is_gone_with_its_tags(self, registry: Registry, tmp_path: Path) -> None:
        repository, layer = some_repository(), make_layer(tmp_path)
        image = make_image(layer)
        registry.push_blob(repository, layer)
        registry.put_image(repository, image, "v1", "v2")
        assert registry.delete_manifest(repository, image.digest) is True
        assert registry.delete_manifest(repository, image.digest) is False
        assert registry.head_manifest(repository, "v1") is None
        assert registry.tags(repository) == []

    def test_a_removed_tag_leaves_the_image_and_its_other_tags_alone(self, registry: Registry, tmp_path: Path) -> None:
        repository, layer = some_repository(), make_layer(tmp_path)
        image = make_image(layer)
        registry.push_blob(repository, layer)
        registry.put_image(repository, image, "v1", "stable")
        assert registry.delete_tag(repository, "stable") is True
        assert registry.delete_tag(repository, "stable") is False
        assert registry.tags(repository) == ["v1"]
        assert registry.head_manifest(repository, "v1") == image.digest
        assert registry.get_image(repository, image.digest).digest == image.digest

    def test_a_blob_that_is_not_what_it_claims_to_be_is_refused(self, registry: Registry, tmp_path: Path) -> None:
        layer = make_layer(tmp_path)
        content = bytearray(layer.path.read_bytes())
        content[-1] ^= 1
        layer.path.write_bytes(content)
        with pytest.raises(DigestMismatch):
            registry.push_blob(some_repository(), layer)
