from __future__ import annotations

import gzip
import hashlib
import os

import pytest

from runtime.images import compress_layer, sha256_digest


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 3_500_000])
def test_a_layer_is_the_tar_compressed_and_knows_both_digests(tmp_path, size):
    content = os.urandom(size // 2) + bytes(size - size // 2)
    (tmp_path / "a.tar").write_bytes(content)
    file = compress_layer(tmp_path / "a.tar", tmp_path / "a.gz")
    packed = file.path.read_bytes()
    assert gzip.decompress(packed) == content
    assert file.diff_id == "sha256:" + hashlib.sha256(content).hexdigest()
    assert (file.descriptor.digest, file.descriptor.size) == (sha256_digest(packed), len(packed))


def test_name_and_time_leave_no_trace_in_a_layer(tmp_path):
    for name, when in (("a", 1), ("b", 2_000_000_000)):
        (tmp_path / name).write_bytes(b"content" * 1000)
        os.utime(tmp_path / name, (when, when))
    files = [compress_layer(tmp_path / name, tmp_path / f"{name}.gz") for name in ("a", "b")]
    assert files[0].descriptor == files[1].descriptor
    assert files[0].layer == files[1].layer
