"""What an image is made of, in the OCI's terms. Everything here is immutable and knows no network and no disk."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from runtime.errors import InvalidInput, RegistryError

#: The time every file and every image of ours claims to be from, so that the same content gives the same digest.
#: 2025-01-01: late enough for tools that dislike 1970 (zip knows nothing before 1980).
EPOCH = 1735689600
CREATED = "2025-01-01T00:00:00Z"

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEXES = (OCI_INDEX, DOCKER_LIST)

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_HOST = re.compile(r"(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::[0-9]{1,5})?")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "riscv64": "riscv64"}


def sha256_digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def canonical_json(value: object) -> bytes:
    """One value, one byte string: keys sorted, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None


def host_architecture() -> str:
    """The OCI's word for this machine's processor."""
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


@dataclass(frozen=True, slots=True)
class Reference:
    """`host[:port]/repository[:tag][@digest]`. Without a tag and a digest the tag is `latest`."""

    repository: str
    registry: str = ""  # "" = none was named
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        rest, _, digest = text.partition("@")
        if digest and not is_digest(digest):
            raise _bad_reference(text, "what follows @ is not a sha256 digest")
        registry = ""
        first, slash, after = rest.partition("/")
        if slash and (first == "localhost" or "." in first or ":" in first):
            registry, rest = first, after
            if not _HOST.fullmatch(registry):
                raise _bad_reference(text, f"{registry!r} is not a host name")
        repository, colon, tag = rest.partition(":")
        if colon and not _TAG.fullmatch(tag):
            raise _bad_reference(text, f"{tag!r} is not a tag")
        if len(repository) > 255 or not _REPOSITORY.fullmatch(repository):
            raise _bad_reference(text, f"{repository!r} is not a repository name")
        if not tag and not digest:
            tag = "latest"
        return cls(repository=repository, registry=registry, tag=tag, digest=digest)

    @property
    def target(self) -> str:
        """What a registry is asked for: the digest when there is one."""
        return self.digest or self.tag

    def __str__(self) -> str:
        prefix = f"{self.registry}/" if self.registry else ""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{prefix}{self.repository}{tag}{digest}"


def _bad_reference(text: str, reason: str) -> InvalidInput:
    return InvalidInput(
        f"{text!r} is not an image reference: {reason}.",
        hint="Write it as repository:tag or repository@sha256:…, with the registry's host in front if need be.",
        id="invalid_reference",
    )


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Names a blob: what it is, its digest, its size in bytes."""

    media_type: str
    digest: str
    size: int

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Descriptor:
        digest = str(value["digest"])
        if not is_digest(digest):
            raise ValueError(f"{digest!r} is not a sha256 digest")
        return cls(media_type=str(value.get("mediaType", "")), digest=digest, size=int(value["size"]))

    def to_json(self) -> dict[str, object]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, slots=True)
class Layer:
    """A compressed tar in a registry, and the digest of what is in it when inflated."""

    descriptor: Descriptor
    diff_id: str

    @property
    def digest(self) -> str:
        return self.descriptor.digest

    @property
    def size(self) -> int:
        return self.descriptor.size


@dataclass(frozen=True, slots=True)
class Image:
    """Config and manifest as the bytes their digests are taken of. `repository` is where its blobs are known to be."""

    config: bytes
    layers: tuple[Layer, ...]
    manifest: bytes
    digest: str
    repository: str = ""

    @classmethod
    def parse(cls, manifest: bytes, config: bytes, *, repository: str = "") -> Image:
        """Raises `RegistryError` when the two don't fit each other or are no image."""
        try:
            document = json.loads(manifest)
            diff_ids = [str(diff_id) for diff_id in json.loads(config)["rootfs"]["diff_ids"]]
            descriptors = [Descriptor.from_json(layer) for layer in document["layers"]]
            if document["config"]["digest"] != sha256_digest(config):
                raise ValueError("the config is not the one the manifest names")
            layers = tuple(Layer(d, diff_id) for d, diff_id in zip(descriptors, diff_ids, strict=True))
        except (ValueError, KeyError, TypeError) as exc:
            raise RegistryError(f"This is no image manifest and config we can read: {exc}.", id="bad_image") from exc
        return cls(config=config, layers=layers, manifest=manifest, digest=sha256_digest(manifest), repository=repository)

    @classmethod
    def build(cls, config: Mapping[str, object], layers: Sequence[Layer], *, repository: str = "") -> Image:
        """An OCI image of this config and these layers; `rootfs` is filled in, so is the manifest."""
        complete = {**config, "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}}
        config_bytes = canonical_json(complete)
        manifest = canonical_json(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": Descriptor(OCI_CONFIG, sha256_digest(config_bytes), len(config_bytes)).to_json(),
                "layers": [layer.descriptor.to_json() for layer in layers],
            }
        )
        return cls(
            config=config_bytes,
            layers=tuple(layers),
            manifest=manifest,
            digest=sha256_digest(manifest),
            repository=repository,
        )

    @classmethod
    def empty(cls, architecture: str = "") -> Image:
        """The image with nothing in it, to assemble a first layer on."""
        return cls.build({"architecture": architecture or host_architecture(), "os": "linux", "config": {}}, ())

    def in_repository(self, repository: str) -> Image:
        return replace(self, repository=repository)

    @property
    def document(self) -> dict[str, Any]:
        """The config, read."""
        return cast("dict[str, Any]", json.loads(self.config))

    @property
    def settings(self) -> dict[str, Any]:
        """The part of the config that containers are started with: Env, Entrypoint, Cmd, Labels, …"""
        return cast("dict[str, Any]", self.document.get("config") or {})

    @property
    def media_type(self) -> str:
        return str(json.loads(self.manifest).get("mediaType") or OCI_MANIFEST)

    @property
    def config_descriptor(self) -> Descriptor:
        return Descriptor.from_json(json.loads(self.manifest)["config"])

    @property
    def architecture(self) -> str:
        return str(self.document.get("architecture", ""))

    @property
    def environment(self) -> dict[str, str]:
        return dict(str(item).partition("=")[::2] for item in self.settings.get("Env") or ())

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.settings.get("Labels") or {})

    @property
    def command(self) -> list[str]:
        """What it runs by itself; nothing when it does not say."""
        return [*(self.settings.get("Entrypoint") or ()), *(self.settings.get("Cmd") or ())]

    @property
    def exposed_port(self) -> int:
        """The lowest that it EXPOSEs for TCP; 0 when none."""
        ports = [port.partition("/")[0] for port in self.settings.get("ExposedPorts") or () if not port.endswith("/udp")]
        return min((int(port) for port in ports if port.isdigit()), default=0)

    @property
    def has_health_check(self) -> bool:
        return bool(((self.settings.get("Healthcheck") or {}).get("Test") or ["NONE"])[0] != "NONE")

    @property
    def size(self) -> int:
        """Compressed bytes of all layers."""
        return sum(layer.size for layer in self.layers)
