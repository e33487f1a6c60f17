from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from runtime.images.values import EPOCH
from runtime.stacks.tars import clean_name, read_index, write_delta

Content = bytes | None | tuple[bytes, str]


def make_tar(path: Path, files: Mapping[str, Content], *, mtime: int = 1_000_000_000) -> Path:
    """bytes: a file; None: a folder; (type, target): a link."""
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.mtime = mtime
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            elif isinstance(content, tuple):
                info.type, info.linkname = content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def names(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return tar.getnames()


def delta(tmp_path: Path, lower: Mapping[str, Content], full: Mapping[str, Content]) -> Path:
    index = read_index([make_tar(tmp_path / "lower.tar", lower)])
    out = tmp_path / "delta.tar"
    write_delta(make_tar(tmp_path / "full.tar", full, mtime=2_000_000_000), index, out)
    return out


def test_only_what_is_new_or_changed_is_in_a_layer(tmp_path):
    lower = {"./": None, "./etc": None, "./etc/same": b"1", "./etc/changed": b"1"}
    full = {"./": None, "./etc": None, "./etc/changed": b"2", "./etc/same": b"1", "./usr": None, "./usr/new": b""}
    assert names(delta(tmp_path, lower, full)) == ["etc/changed", "usr", "usr/new"]


def test_what_is_gone_leaves_one_mark(tmp_path):
    lower = {"./a": None, "./a/b": None, "./a/b/c": b"1", "./d": b"1"}
    assert names(delta(tmp_path, lower, {"./a": None})) == [".wh.d", "a/.wh.b"]
    merged = read_index([tmp_path / "lower.tar", tmp_path / "delta.tar"])
    assert sorted(merged) == ["a"]


def test_a_changed_mode_or_owner_counts(tmp_path):
    lower = make_tar(tmp_path / "lower.tar", {"f": b"1"})
    with tarfile.open(tmp_path / "full.tar", "w") as tar:
        info = tarfile.TarInfo("f")
        info.size, info.mode = 1, 0o4755
        tar.addfile(info, io.BytesIO(b"1"))
    assert write_delta(tmp_path / "full.tar", read_index([lower]), tmp_path / "out.tar") == 1


def test_a_second_name_of_a_file_below_becomes_a_copy(tmp_path):
    full: dict[str, Content] = {"./first": b"1", "./second": (tarfile.LNKTYPE, "./first")}
    with tarfile.open(delta(tmp_path, {"./first": b"1"}, full)) as tar:
        member = tar.getmember("second")
        assert member.isreg()
        assert tar.extractfile(member).read() == b"1"
    with tarfile.open(delta(tmp_path, {}, full)) as tar:
        assert tar.getmember("second").linkname == "first"


def test_dates_are_held_to_the_epoch_and_nobody_is_named(tmp_path):
    with tarfile.open(delta(tmp_path, {}, {"./new": b"1"})) as tar:
        member = tar.getmember("new")
    assert (member.mtime, member.uname, member.gname) == (EPOCH, "", "")


def test_the_order_of_the_input_does_not_matter(tmp_path):
    files: dict[str, Content] = {"./b": b"2", "./a": b"1"}
    first = delta(tmp_path, {}, files).read_bytes()
    assert delta(tmp_path, {}, dict(reversed(files.items()))).read_bytes() == first


@pytest.mark.parametrize(
    "name",
    [
        "var/log/dpkg.log",
        "var/lib/apt/lists/index",
        "var/cache/apt/pkgcache.bin",
        "usr/share/man/man1/ls.1.gz",
        "usr/share/doc/bash/README",
        "etc/resolv.conf",
        "etc/passwd-",
        "etc/apt/apt.conf.d/99mmdebstrap",
        "var/cache/ldconfig/aux-cache",
        "usr/sbin/policy-rc.d",
        "dev/null",
        "run/paas-ca.crt",
    ],
)
def test_traces_of_the_making_are_left_out(tmp_path, name):
    assert names(delta(tmp_path, {}, {f"./{name}": b"1"})) == []


@pytest.mark.parametrize("name", ["usr/share/doc/bash/copyright", "etc/passwd", "var/lib/dpkg/status", "app/.venv/x"])
def test_what_an_image_needs_is_kept(tmp_path, name):
    assert names(delta(tmp_path, {}, {f"./{name}": b"1"})) == [name]


def test_a_program_that_was_put_aside_gets_its_place_back(tmp_path):
    starter = "usr/sbin/start-stop-daemon"
    out = delta(tmp_path, {}, {f"./{starter}": b"stand-in", f"./{starter}.REAL": b"real"})
    with tarfile.open(out) as tar:
        assert tar.getnames() == [starter]
        assert tar.extractfile(starter).read() == b"real"


def test_bytecode_is_not_checked_against_its_source_again(tmp_path):
    with tarfile.open(delta(tmp_path, {}, {"./a.pyc": b"MAGC\x03\0\0\0hashhash"})) as tar:
        assert tar.extractfile("a.pyc").read() == b"MAGC\x01\0\0\0hashhash"


def test_a_leading_dot_is_part_of_a_name():
    assert [clean_name(name) for name in ("./", ".", "./.venv", "/etc/", "a/b")] == ["", "", ".venv", "etc", "a/b"]


def test_what_is_left_out_on_purpose_is_not_marked_as_gone(tmp_path):
    index = read_index([make_tar(tmp_path / "lower.tar", {"etc": None, "etc/apt/sources.list": b"1"})])
    full = make_tar(tmp_path / "full.tar", {"etc": None, "etc/apt/sources.list": b"2"})
    assert write_delta(full, index, tmp_path / "out.tar", drop=["etc/apt/sources.list"]) == 0
