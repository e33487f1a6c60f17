from __future__ import annotations

import json

import pytest

from runtime.errors import InvalidInput, RegistryError
from runtime.images import Descriptor, Image, Layer, Reference, assemble, canonical_json, sha256_digest
from runtime.images.values import OCI_LAYER, OCI_MANIFEST

DIGEST = sha256_digest(b"x")


def layer(name: str) -> Layer:
    return Layer(Descriptor(OCI_LAYER, sha256_digest(name.encode()), 10), sha256_digest(b"tar of " + name.encode()))


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("hello", "", "hello", "latest", ""),
        ("apps/hello:v1", "", "apps/hello", "v1", ""),
        ("localhost/hello", "localhost", "hello", "latest", ""),
        ("127.0.0.1:5000/apps/hello", "127.0.0.1:5000", "apps/hello", "latest", ""),
        ("registry.example/a/b:v1@" + DIGEST, "registry.example", "a/b", "v1", DIGEST),
        ("[::1]:5000/a@" + DIGEST, "[::1]:5000", "a", "", DIGEST),
    ],
)
def test_a_reference_is_read_and_written(text, registry, repository, tag, digest):
    reference = Reference.parse(text)
    assert reference == Reference(repository=repository, registry=registry, tag=tag, digest=digest)
    assert Reference.parse(str(reference)) == reference
    assert reference.target == (digest or tag)


@pytest.mark.parametrize(
    "text", ["", "Hello", "a//b", "a:b c", "a@sha256:12", "a@md5:0", "-a", "../etc", "a:" + "x" * 129]
)
def test_what_is_no_reference_is_refused(text):
    with pytest.raises(InvalidInput):
        Reference.parse(text)


def test_json_is_written_in_one_way():
    assert (
        canonical_json({"b": [1, "ä"], "a": {"d": None, "c": True}}) == '{"a":{"c":true,"d":null},"b":[1,"ä"]}'.encode()
    )


def test_the_same_parts_make_the_same_image():
    def make(environment: dict[str, str]) -> Image:
        return assemble(
            Image.empty("amd64"),
            [layer("a"), layer("b")],
            entrypoint=["/paas/launcher"],
            environment=environment,
            labels={"x": "y"},
            user="app",
            working_dir="/app",
            exposed_ports=[8080],
        )

    first = make({"A": "1", "B": "2"})
    assert first == make({"B": "2", "A": "1"})
    document = json.loads(first.config)
    assert document["config"] == {
        "Entrypoint": ["/paas/launcher"],
        "Env": ["A=1", "B=2"],
        "ExposedPorts": {"8080/tcp": {}},
        "Labels": {"x": "y"},
        "StopSignal": "SIGTERM",
        "User": "app",
        "WorkingDir": "/app",
    }
    assert document["rootfs"]["diff_ids"] == [layer("a").diff_id, layer("b").diff_id]
    assert len(document["history"]) == 2
    assert first.media_type == OCI_MANIFEST
    assert first.size == 20


def test_an_image_on_a_base_keeps_its_layers_and_environment_and_nothing_else():
    base = assemble(
        Image.empty("arm64"),
        [layer("a")],
        command=["true"],
        environment={"PATH": "/bin", "A": "1"},
        labels={"stack": "s"},
        user="root",
    )
    image = assemble(base, [layer("b")], entrypoint=["e"], environment={"A": "2"}, labels={"l": "m"})
    assert image.layers == (layer("a"), layer("b"))
    assert image.environment == {"A": "2", "PATH": "/bin"}
    assert image.labels == {"l": "m", "stack": "s"}
    assert image.architecture == "arm64"
    assert "User" not in image.settings
    assert "Cmd" not in image.settings


def test_an_image_is_read_back_from_its_manifest_and_config():
    image = assemble(Image.empty(), [layer("a")], command=["true"])
    assert Image.parse(image.manifest, image.config) == image
    assert image.config_descriptor.digest == sha256_digest(image.config)


def test_a_config_that_is_not_the_manifests_own_is_refused():
    image = assemble(Image.empty(), [layer("a")])
    for manifest, config in ((image.manifest, image.config + b" "), (b"[]", image.config), (b"{}", b"{}"), (b"<", b"")):
        with pytest.raises(RegistryError):
            Image.parse(manifest, config)
