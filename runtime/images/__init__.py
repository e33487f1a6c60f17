"""OCI images as values: references, digests, manifests, configs and layers, and how a new image is put together."""

from runtime.images.layers import LayerFile, assemble, compress_layer
from runtime.images.values import (
    EPOCH,
    Descriptor,
    Image,
    Layer,
    Reference,
    canonical_json,
    host_architecture,
    sha256_digest,
)

__all__ = [
    "EPOCH",
    "Descriptor",
    "Image",
    "Layer",
    "LayerFile",
    "Reference",
    "assemble",
    "canonical_json",
    "compress_layer",
    "host_architecture",
    "sha256_digest",
]
