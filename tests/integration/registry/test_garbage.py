"""What no image needs leaves the disk; what one needs stays, also when the collection is cut short."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from runtime.errors import RegistryError
from runtime.images.layers import LayerFile
from runtime.images.values import OCI_INDEX, OCI_MANIFEST
from runtime.registry import Registry
from runtime.registry.garbage import collect_garbage, size_of, untagged
from tests.integration.registry.conftest import running_registry
from tests.unit.runtime.registry.contract import make_image, make_layer, some_repository

BIG = 3_000_000


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "registry").mkdir()
    return tmp_path / "registry"


@pytest.fixture
def registry(home: Path) -> Iterator[Registry]:
    with running_registry(home) as address, Registry(address) as registry:
        yield registry


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[int]:
    file = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(file, fcntl.LOCK_EX)
    yield file
    os.close(file)


def published(registry: Registry, folder: Path, repository: str, *tags: str) -> tuple[str, LayerFile]:
    """The digest of an image of its own, and its layer, which is incompressible."""
    folder.mkdir()
    layer = make_layer(folder, os.urandom(BIG))
    image = make_image(layer)
    registry.push_blob(repository, layer)
    registry.put_image(repository, image, *tags)
    return image.digest, layer


def test_only_what_no_image_needs_is_collected_and_can_be_pushed_again(registry, home, lock, tmp_path):
    repository = some_repository()
    kept, kept_layer = published(registry, tmp_path / "kept", repository)  # by digest only: no tag keeps it
    gone, gone_layer = published(registry, tmp_path / "gone", repository, "v1", "git-1a2b3c4d5e6f")
    registry.delete_manifest(repository, gone)
    before = size_of(home / "blobs")
    freed = collect_garbage(home / "registry.yml", home / "blobs", lock=lock)
    assert BIG < freed < 1.1 * BIG + 10_000
    assert size_of(home / "blobs") == before - freed
    assert registry.has_blob(repository, kept_layer.descriptor.digest)
    assert registry.get_image(repository, kept).digest == kept
    assert not registry.has_blob(repository, gone_layer.descriptor.digest)
    assert registry.tags(repository) == []
    assert registry.push_blob(repository, gone_layer), "its bytes have to travel again"
    assert registry.put_image(repository, make_image(gone_layer), "v2") == gone
    assert registry.get_image(repository, "v2").digest == gone


def test_a_collection_that_is_killed_at_any_moment_does_no_harm(registry, home, lock, tmp_path):
    repository = some_repository()
    kept = [published(registry, tmp_path / f"kept-{n}", repository, f"v{n}") for n in range(3)]
    gone = [published(registry, tmp_path / f"gone-{n}", repository) for n in range(3)]
    for digest, _ in gone:
        registry.delete_manifest(repository, digest)
    for milliseconds in (5, 20, 40, 60, 80):
        process = subprocess.Popen(
            ["docker-registry", "garbage-collect", home / "registry.yml"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(milliseconds / 1000)  # the moment is what this test is about
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        for digest, layer in kept:
            assert registry.get_image(repository, digest).digest == digest
            assert sum(map(len, registry.get_blob(repository, layer.descriptor.digest))) > BIG / 2
    collect_garbage(home / "registry.yml", home / "blobs", lock=lock)
    assert not any(registry.has_blob(repository, layer.descriptor.digest) for _, layer in gone)


def test_where_nobody_has_pushed_there_is_nothing_to_collect(home, lock, tmp_path):
    assert collect_garbage(tmp_path / "no-such.yml", home, lock=lock) == 0


def test_a_collection_that_fails_says_why(home, lock, tmp_path):
    (home / "docker" / "registry" / "v2" / "repositories").mkdir(parents=True)
    with pytest.raises(RegistryError, match="garbage"):
        collect_garbage(tmp_path / "no-such.yml", home, lock=lock)


def test_a_manifest_that_was_pushed_over_has_no_tag_unless_an_index_names_it(registry, home, tmp_path):
    repository = some_repository()
    first, _ = published(registry, tmp_path / "first", repository, "latest")
    part, _ = published(registry, tmp_path / "part", repository, "other")
    entry = {"mediaType": OCI_MANIFEST, "digest": part, "size": 1, "platform": {"architecture": "amd64", "os": "linux"}}
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
    with httpx.Client(base_url=f"http://{registry.host}") as client:
        put = client.put(f"/v2/{repository}/manifests/all", content=index, headers={"Content-Type": OCI_INDEX})
    assert put.status_code == 201, put.text
    assert untagged(home / "blobs", repository) == []
    last, _ = published(registry, tmp_path / "last", repository, "latest", "other")
    assert untagged(home / "blobs", repository) == [first]
    assert registry.delete_manifest(repository, first)
    assert untagged(home / "blobs", repository) == []
    assert registry.head_manifest(repository, "latest") == last


def test_a_collection_that_outlives_us_keeps_the_lock(tmp_path):
    """The descriptor goes along with the child: the lock is free only when that has ended."""
    file = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(file, fcntl.LOCK_EX)
    child = subprocess.Popen(["sleep", "60"], pass_fds=(file,))
    os.close(file)
    other = os.open(tmp_path / "lock", os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    child.kill()
    child.wait(10)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)
