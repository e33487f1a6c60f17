"""From a tar to a layer, and from layers to an image: the same input gives the same bytes, always."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from isal import isal_zlib

from runtime.images.values import CREATED, OCI_LAYER, Descriptor, Image, Layer

# The deflate stream depends on how its input is cut, so this is part of every layer's digest.
_CHUNK = 1 << 20
_LEVEL = 1
# Magic, deflate, no flags (hence no name), modification time 0, no hint about the level, system unknown.
_GZIP_HEADER = b"\x1f\x8b\x08\x00" + bytes(4) + b"\x00\xff"


@dataclass(frozen=True, slots=True)
class LayerFile:
    """A compressed layer on disk, ready to be pushed."""

    path: Path
    descriptor: Descriptor
    diff_id: str

    @property
    def layer(self) -> Layer:
        return Layer(self.descriptor, self.diff_id)


def compress_layer(tar_path: Path, out_path: Path) -> LayerFile:
    """Compress a tar in one pass, taking both digests on the way. A layer that is written twice has one digest."""
    inflated, deflated = hashlib.sha256(), hashlib.sha256()
    compressor = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, -15)
    checksum = length = size = 0
    with tar_path.open("rb") as source, out_path.open("wb") as out:

        def write(data: bytes) -> None:
            nonlocal size
            deflated.update(data)
            size += out.write(data)

        write(_GZIP_HEADER)
        while chunk := source.read(_CHUNK):
            inflated.update(chunk)
            checksum = isal_zlib.crc32(chunk, checksum)
            length += len(chunk)
            write(compressor.compress(chunk))
        write(compressor.flush())
        write(struct.pack("<II", checksum, length & 0xFFFFFFFF))
    return LayerFile(
        path=out_path,
        descriptor=Descriptor(OCI_LAYER, f"sha256:{deflated.hexdigest()}", size),
        diff_id=f"sha256:{inflated.hexdigest()}",
    )


def assemble(
    base: Image,
    layers: Sequence[Layer],
    *,
    entrypoint: Sequence[str] = (),
    command: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    user: str = "",
    working_dir: str = "",
    exposed_ports: Sequence[int | str] = (),
    stop_signal: str = "SIGTERM",
) -> Image:
    """A new image: the base's layers, then these. Environment and labels are added to the base's and win over them;
    everything else is exactly what is given, so that nothing is inherited by accident. Knows no clock: the same
    arguments give the same digest. The result belongs to no repository yet."""
    all_layers = (*base.layers, *layers)
    settings: dict[str, object] = {
        "Env": [f"{name}={value}" for name, value in sorted({**base.environment, **(environment or {})}.items())],
        "Entrypoint": list(entrypoint) or None,
        "Cmd": list(command) or None,
        "Labels": {**base.labels, **(labels or {})} or None,
        "User": user,
        "WorkingDir": working_dir,
        "ExposedPorts": {_port(port): {} for port in exposed_ports} or None,
        "StopSignal": stop_signal,
    }
    return Image.build(
        {
            "architecture": base.architecture,
            "os": "linux",
            "created": CREATED,
            "config": {name: value for name, value in settings.items() if value},
            "history": [{"created": CREATED, "created_by": "paas"} for _ in all_layers],
        },
        all_layers,
    )


def _port(port: int | str) -> str:
    return str(port) if "/" in str(port) else f"{port}/tcp"
