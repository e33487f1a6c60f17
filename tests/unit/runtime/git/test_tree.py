from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.builder.api import SourceEntry, SourceTree
from runtime.errors import BuildFailed, NotFound
from runtime.git.tree import MAX_READ, GitTree, TreeLimits
from tests.unit.runtime.git.conftest import Work

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
UNLIMITED = TreeLimits()


def tar_of(tree: SourceTree, prefix: str = "", keep: Callable[[str], bool] | None = None) -> bytes:
    out = io.BytesIO()
    tree.write_tar(out, prefix=prefix, keep=keep)
    return out.getvalue()


def members(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as archive:
        return archive.getmembers()


def tree_of(work: Work, limits: TreeLimits = UNLIMITED) -> GitTree:
    return GitTree(work.path / ".git", work.commit(), limits=limits)


def test_the_tar_has_fixed_owners_times_and_modes(work: Work) -> None:
    work.write("src/deep/main.py", b"print()\n")
    work.write("run.sh", b"#!/bin/sh\n", mode=0o755)
    work.write("private", mode=0o600)
    (work.path / "link").symlink_to("/etc/passwd")
    tree = tree_of(work)
    found = members(tar_of(tree, prefix="app/"))
    assert [(member.name, oct(member.mode), member.type) for member in found] == [
        ("app", "0o755", tarfile.DIRTYPE),
        ("app/link", "0o777", tarfile.SYMTYPE),
        ("app/private", "0o644", tarfile.REGTYPE),
        ("app/run.sh", "0o755", tarfile.REGTYPE),
        ("app/src", "0o755", tarfile.DIRTYPE),
        ("app/src/deep", "0o755", tarfile.DIRTYPE),
        ("app/src/deep/main.py", "0o644", tarfile.REGTYPE),
    ]
    assert {(member.uid, member.gid, member.uname, member.gname, member.mtime) for member in found} == {
        (0, 0, "", "", tree.time)
    }
    assert found[1].linkname == "/etc/passwd"
    assert list(tree.entries()) == [
        SourceEntry("link", 0o120000, 11),
        SourceEntry("private", 0o100644, 2),
        SourceEntry("run.sh", 0o100755, 10),
        SourceEntry("src/deep/main.py", 0o100644, 8),
    ]


def test_the_same_tree_of_the_same_time_is_the_same_bytes(work: Work) -> None:
    work.write("a/b", os.urandom(3_000_000))
    work.write("empty", b"")
    first = tree_of(work)
    second = GitTree(work.path / ".git", first.commit, limits=UNLIMITED)
    assert (first.tree_id, first.time) == (second.tree_id, second.time)
    assert hashlib.sha256(tar_of(first)).digest() == hashlib.sha256(tar_of(second)).digest()


def test_the_content_is_that_of_a_checkout(work: Work) -> None:
    names = ("big", "d/" + "long" * 60, "empty", "exact")
    for name, content in zip(names, (os.urandom(2_500_000), b"long name\n", b"", b"x" * 512), strict=True):
        work.write(name, content)
    with tarfile.open(fileobj=io.BytesIO(tar_of(tree_of(work)))) as archive:
        for name in names:
            file = archive.extractfile(name)
            assert file is not None
            assert file.read() == (work.path / name).read_bytes()


def test_names_may_be_any_bytes(work: Work) -> None:
    names = [b"a:b", b"back\\slash", b"new\nline", b"caf\xe9", "日本".encode(), b" lead", b"tab\there"]
    for name in names:
        work.write(name)
    found = members(tar_of(tree_of(work)))
    assert sorted(member.name.encode("utf-8", "surrogateescape") for member in found) == sorted(names)


def test_what_is_not_kept_is_left_out_with_its_directories(work: Work) -> None:
    work.write("docs/guide/a.md")
    work.write("src/b.py")
    found = members(tar_of(tree_of(work), keep=lambda path: not path.startswith("docs/")))
    assert [member.name for member in found] == ["src", "src/b.py"]


def test_single_files_can_be_read(work: Work) -> None:
    work.write("Procfile", b"web: run\n")
    work.write("big", b"x" * (MAX_READ + 10))
    (work.path / "link").symlink_to("Procfile")
    tree = tree_of(work)
    assert tree.read("Procfile") == b"web: run\n"
    assert len(tree.read("big") or b"") == MAX_READ
    assert tree.read("link") is None
    assert tree.read("nosuch") is None
    assert tree.read("") is None


def test_submodules_are_left_out_and_named(work: Work) -> None:
    work.write("file")
    commit = work.commit()
    work.git("update-index", "--add", "--cacheinfo", f"160000,{commit},vendor/lib")
    work.git("commit", "--quiet", "-m", "Submodule")
    tree = GitTree(work.path / ".git", work.git("rev-parse", "HEAD"))
    assert [entry.path for entry in tree.entries()] == ["file"]
    assert tree.notes == ("vendor/lib is a submodule: its content is not part of the push and was left out.",)
    assert [member.name for member in members(tar_of(tree))] == ["file"]


def test_pointers_of_lfs_are_named(work: Work) -> None:
    work.write("model.bin", POINTER)
    assert list(tree_of(work).notes) == []  # nothing says that LFS is in use
    work.write("data/.gitattributes", b"*.bin filter=lfs diff=lfs merge=lfs -text\n")
    work.write("data/small.txt", b"x" * 150)
    assert list(tree_of(work).notes) == ["model.bin is a Git LFS pointer: the file itself was not pushed to this server."]


def test_attributes_for_export_change_nothing(work: Work) -> None:
    work.write(".gitattributes", b"secret export-ignore\nversion export-subst\n")
    work.write("secret")
    work.write("version", b"$Format:%H$\n")
    tree = tree_of(work)
    assert [entry.path for entry in tree.entries()] == [".gitattributes", "secret", "version"]
    assert tree.read("version") == b"$Format:%H$\n"


def test_replaced_objects_are_not_honoured(work: Work) -> None:
    work.write("file", b"true\n")
    commit = work.commit()
    other = work.git("hash-object", "-w", "--stdin", data=b"fake\n")
    work.git("replace", work.git("rev-parse", "HEAD:file"), other)
    assert GitTree(work.path / ".git", commit).read("file") == b"true\n"


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (TreeLimits(max_entries=3), "more than 3 files and directories"),
        (TreeLimits(max_bytes=1024 * 1024), "more than 1 MiB of files"),
        (TreeLimits(max_depth=2), "directories nested deeper than 2"),
        (TreeLimits(max_path_bytes=5), "a path longer than a file system takes"),
    ],
)
def test_a_tree_beyond_the_limits_is_refused_in_words(work: Work, limits: TreeLimits, what: str) -> None:
    work.write("a/b/c", b"x" * 1024 * 1024)
    work.write("a/b/d", b"y")
    work.write("longer-name")
    tree = tree_of(work, limits)
    with pytest.raises(BuildFailed, match=what) as caught:
        tree.entries()
    assert caught.value.id == "source_too_large"


def test_a_tree_of_ten_thousand_million_files_ends_soon(work: Work) -> None:
    tree = work.git("hash-object", "-w", "--stdin")
    kind = "100644 blob"
    for _ in range(10):
        listing = "".join(f"{kind} {tree}\tf{number}\n" for number in range(10))
        tree = work.git("mktree", data=listing.encode())
        kind = "040000 tree"
    commit = work.git("commit-tree", tree, "-m", "Bomb")
    with pytest.raises(BuildFailed, match="more than 20000 files and directories"):
        GitTree(work.path / ".git", commit, limits=TreeLimits(max_entries=20_000)).entries()


def test_a_push_in_quarantine_is_read_where_it_is(
    repository: Path, work: Work, quarantined: Callable[[bytes], Path]
) -> None:
    work.write("file", b"content\n")
    commit = work.commit()
    quarantine = quarantined(work.pack("HEAD"))
    tree = GitTree(repository, commit, quarantine=quarantine)
    assert tree.read("file") == b"content\n"
    with pytest.raises(NotFound):
        GitTree(repository, commit)
    with pytest.raises(ValueError):
        GitTree(repository, "HEAD; rm -rf /")
