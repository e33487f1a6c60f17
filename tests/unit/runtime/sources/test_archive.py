"""What an archive gives is what a push of the same files gives; and nothing in it leads out of it, or is too much."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.errors import BuildFailed
from runtime.git.tree import GitTree, TreeLimits
from runtime.sources.archive import ArchiveTree, read_archive, verify_checksum

COMMITTED = 1_700_000_000
SMALL = TreeLimits(max_entries=20, max_bytes=200_000, max_depth=5, max_path_bytes=100)


def git(cwd: Path, *arguments: str) -> str:
    when = f"{COMMITTED} +0000"
    environment = {
        "GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when, "GIT_CONFIG_GLOBAL": "/dev/null", "PATH": "/usr/bin:/bin",
    }  # fmt: skip
    identity = ["-c", "user.name=Alice", "-c", "user.email=alice@example.com"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=cwd, capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout.strip()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work tree with one commit of everything that git can keep."""
    work = tmp_path / "work"
    (work / "a" / "b").mkdir(parents=True)
    (work / "a-b").write_text("sorts between a and a/b")
    (work / "a" / "b" / "deep.txt").write_text("deep")
    (work / "a.txt").write_bytes(bytes(range(256)) * 300)
    (work / "empty").touch()
    (work / "run").write_text("#!/bin/sh\n")
    (work / "run").chmod(0o755)
    (work / "link").symlink_to("a/b/deep.txt")
    (work / "überall.txt").write_text("ü")
    git(work, "init", "-q", "-b", "main")
    git(work, "add", ".")
    git(work, "commit", "-q", "-m", "All.")
    return work


def opened(path: Path, limits: TreeLimits = SMALL) -> ArchiveTree:
    folder = path.parent / f"{path.name}.folder"
    folder.mkdir(exist_ok=True)
    return read_archive(path, folder=folder, limits=limits)


def archive_of(*members: tuple[tarfile.TarInfo, bytes], path: Path) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def file(name: str, content: bytes = b"x", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def refusal(path: Path, limits: TreeLimits = SMALL) -> BuildFailed:
    with pytest.raises(BuildFailed) as caught:
        opened(path, limits)
    return caught.value


def tar_of(tree: ArchiveTree | GitTree) -> bytes:
    out = io.BytesIO()
    tree.write_tar(out, prefix="app/", keep=lambda path: path != "a-b")
    return out.getvalue()


@pytest.mark.parametrize("kind", ["tar.gz", "tar", "zip"])
def test_an_archive_gives_what_a_push_of_the_same_files_gives(work: Path, tmp_path: Path, kind: str):
    commit = git(work, "rev-parse", "HEAD")
    path = tmp_path / f"source.{kind}"
    git(work, "archive", f"--format={kind}", "-o", str(path), "HEAD")
    tree, pushed = opened(path), GitTree(work / ".git", commit)
    assert tree.tree_id == pushed.tree_id
    assert {entry.path: entry for entry in tree.entries()} == {entry.path: entry for entry in pushed.entries()}
    assert tree.time == COMMITTED
    assert tar_of(tree) == tar_of(pushed)
    assert tree.read("a/b/deep.txt") == b"deep"
    assert (tree.read("link"), tree.read("nothing")) == (None, None)
    assert tree.commit == ("" if kind == "zip" else commit)


def test_a_tar_of_a_work_tree_gives_it_too_without_the_repository_in_it(work: Path, tmp_path: Path):
    path = tmp_path / "source.tgz"
    subprocess.run(["tar", "czf", path, "--format=gnu", "-C", work, "."], check=True)
    tree = opened(path, TreeLimits())
    assert tree.tree_id == GitTree(work / ".git", git(work, "rev-parse", "HEAD")).tree_id
    assert tree.notes == ("The archive holds a folder .git: it is left out.",)


def test_a_single_folder_is_taken_as_the_root_as_in_archives_of_code_hosts(work: Path, tmp_path: Path):
    path = tmp_path / "source.tar.gz"
    git(work, "archive", "--format=tar.gz", "--prefix=app-1.2.3/", "-o", str(path), "HEAD")
    tree = opened(path)
    assert tree.tree_id == git(work, "rev-parse", "HEAD^{tree}")
    assert tree.notes == ("Everything lies in the folder app-1.2.3: it is taken as the root.",)


def test_a_hard_link_is_the_file_that_it_links_to(tmp_path: Path):
    tree = opened(
        archive_of(file("one", b"content"), file("two", b"", type=tarfile.LNKTYPE, linkname="./one"), path=tmp_path / "a")
    )
    assert tree.read("two") == b"content"


def test_of_two_files_of_one_name_the_later_counts(tmp_path: Path):
    assert opened(archive_of(file("a", b"1"), file("./a", b"2"), path=tmp_path / "a")).read("a") == b"2"


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([file("../outside")], "../outside leads out of it"),
        ([file("a/../../outside")], "a/../../outside leads out of it"),
        ([file("/etc/passwd")], "/etc/passwd leads out of it"),
        ([file("a", b"", type=tarfile.LNKTYPE, linkname="/etc/passwd")], "/etc/passwd leads out of it"),
        ([file("a", b"", type=tarfile.LNKTYPE, linkname="b")], "a is a hard link to b, which is not in it"),
        ([file("a", b"", type=tarfile.SYMTYPE, linkname="/etc"), file("a/b")], "a is both a file and a folder"),
        ([file("a/b"), file("a")], "a is both a file and a folder"),
        ([file("dev", b"", type=tarfile.BLKTYPE)], "dev is neither a file nor a link"),
        ([file("dev", b"", type=tarfile.CHRTYPE)], "dev is neither a file nor a link"),
        ([file("pipe", b"", type=tarfile.FIFOTYPE)], "pipe is neither a file nor a link"),
        ([file("a", b"", type=tarfile.SYMTYPE, linkname="")], "a is a link to nowhere"),
        ([file("empty", b"", type=tarfile.DIRTYPE)], "there is no file in it"),
    ],
)
def test_what_leads_out_of_an_archive_or_is_no_file_is_refused(tmp_path: Path, members, words: str):
    failure = refusal(archive_of(*members, path=tmp_path / "a"))
    assert (failure.id, failure.message) == ("source_invalid", f"The archive can't be used: {words}.")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([file(f"file{number}") for number in range(21)], "more than 20 files and directories"),
        ([file("a/b/c/d/e/f")], "directories nested deeper than 5"),
        ([file("a" * 101)], "a path longer than a file system takes"),
        ([file("bomb", bytes(300_000))], "more than 0 MiB of files"),
        (
            [file("a", bytes(50_000)), *(file(f"{n}", b"", type=tarfile.LNKTYPE, linkname="a") for n in range(9))],
            "more than 0 MiB of files",
        ),
    ],
)
def test_what_is_too_much_is_refused(tmp_path: Path, members, words: str):
    failure = refusal(archive_of(*members, path=tmp_path / "a"))
    assert failure.id == "source_too_large"
    assert words in failure.message


def test_a_bomb_is_refused_before_it_has_filled_the_disk(tmp_path: Path):
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb") as out:
        for _ in range(50):
            out.write(bytes(1024 * 1024))
    assert refusal(path).id == "source_too_large"
    assert sum(left.stat().st_size for left in tmp_path.rglob("source.tar")) <= SMALL.max_bytes


def test_a_zip_that_unpacks_to_too_much_is_refused(tmp_path: Path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(5_000_000))
    assert refusal(path).id == "source_too_large"


def test_a_zip_keeps_links_and_what_may_be_executed(tmp_path: Path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, mode, content in (("run", 0o100755, "x"), ("link", 0o120777, "run"), ("plain", 0, "x")):
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, mode << 16
            archive.writestr(info, content)
    modes = {entry.path: entry.mode for entry in opened(path).entries()}
    assert modes == {"run": 0o100755, "link": 0o120000, "plain": 0o100644}


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x"])
def test_a_zip_that_leads_out_of_itself_is_refused(tmp_path: Path, name: str):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, "x")
    assert refusal(path).id == "source_invalid"


def test_a_tar_header_that_wants_a_gigabyte_of_memory_is_refused(tmp_path: Path):
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**30
    path = tmp_path / "a.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    assert refusal(path).message == "The archive can't be used: it says too much about one of its files."


def test_what_is_cut_off_or_damaged_is_refused_not_built_without_its_end(tmp_path: Path):
    whole = archive_of(file("a", bytes(5000)), file("b", bytes(5000)), path=tmp_path / "a").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-20])
    assert refusal(tmp_path / "cut").id == "source_invalid"
    plain = bytearray(gzip.decompress(whole))
    (tmp_path / "short").write_bytes(plain[:-15_000])
    assert refusal(tmp_path / "short").id == "source_invalid"
    plain[plain.index(b"b\0", 1000)] = 200  # the second header: its checksum is wrong now
    (tmp_path / "damaged").write_bytes(plain)
    assert refusal(tmp_path / "damaged").message == "The archive can't be used: it is damaged in the middle."


def test_reading_stops_when_the_build_is_cancelled(tmp_path: Path):
    class Cancelled(Exception):
        pass

    def check() -> None:
        raise Cancelled

    path = archive_of(file("a"), path=tmp_path / "a")
    with pytest.raises(Cancelled):
        read_archive(path, folder=tmp_path, check=check)


def test_a_checksum_has_to_be_that_of_the_archive(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    right = "SHA256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    verify_checksum(path, right)
    verify_checksum(path, right.lower().removeprefix("sha256:"))
    with pytest.raises(BuildFailed, match="another one than you said") as caught:
        verify_checksum(path, right[:-1] + "0")
    assert caught.value.id == "source_checksum"


def test_a_zip_whose_directory_leads_before_its_beginning_is_refused(tmp_path: Path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "x")
    whole = path.read_bytes()
    at = whole.index(b"PK\1\2") + 42  # where the entry says that its file is
    path.write_bytes(whole[:at] + b"\xff\xff\xff\xff" + whole[at + 4 :])
    assert refusal(path).id == "source_invalid"
    end = whole.index(b"PK\5\6") + 16  # where the directory says that it is itself
    path.write_bytes(whole[:end] + b"\xff\xff\xff\x7f" + whole[end + 4 :])
    assert refusal(path).id == "source_invalid"


names = st.lists(
    st.sampled_from(["a", "b", "..", ".", ".git", "", "ü", "\udcff"]), min_size=1, max_size=4
).map("/".join)  # fmt: skip
kinds = st.sampled_from(
    [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
members = st.lists(st.tuples(names, kinds, names, st.binary(max_size=40)), max_size=6)


def packed(wanted, form: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, kind, target, content in wanted:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            info.size = len(content) if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def tree_or_refusal(content: bytes, folder: Path, finish: Callable[[bytes], bytes] = bytes) -> ArchiveTree | None:
    path = folder / "fuzzed"
    path.write_bytes(finish(content))
    try:
        return read_archive(path, folder=folder, limits=SMALL)
    except BuildFailed:
        return None


def holds(tree: ArchiveTree) -> None:
    """What a builder relies on, whatever was in the archive."""
    paths = [entry.path for entry in tree.entries()]
    for path in paths:
        parts = path.split("/")
        assert {"", ".", "..", ".git"}.isdisjoint(parts)
        assert not any("/".join(parts[:end]) in paths for end in range(1, len(parts)))
    out = io.BytesIO()
    tree.write_tar(out, prefix="app/")
    out.seek(0)
    with tarfile.open(fileobj=out, encoding="utf-8", errors="surrogateescape") as tar:
        inside = [member for member in tar if not member.isdir()]
        assert sorted(member.name for member in inside) == sorted(f"app/{path}" for path in paths)
        assert all(member.isreg() or member.issym() for member in inside)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60, deadline=None
)
@given(members, st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_whatever_a_tar_holds_it_is_refused_or_a_sound_tree(tmp_path: Path, wanted, form: int):
    tree = tree_or_refusal(packed(wanted, form), tmp_path, gzip.compress)
    if tree is not None:
        holds(tree)
    assert {path.name for path in tmp_path.iterdir()} <= {"fuzzed", "source.tar"}


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=100, deadline=None
)
@given(st.data())
def test_whatever_is_damaged_in_an_archive_it_is_refused_or_a_sound_tree(tmp_path: Path, data: st.DataObject):
    long = "directory/" * 4 + "n" * 60
    wanted = [
        ("a/b", tarfile.REGTYPE, "", b"1" * 700),
        (long, tarfile.REGTYPE, "", b"2"),
        ("c", tarfile.SYMTYPE, "a", b""),
    ]
    if data.draw(st.booleans()):
        content = bytearray(packed(wanted, data.draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))))
        del content[4608:]
    else:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, _, _, text in wanted:
                archive.writestr(name, text)
        content = bytearray(out.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    tree = tree_or_refusal(bytes(content), tmp_path)
    if tree is not None:
        holds(tree)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=40, deadline=None
)
@given(st.binary(max_size=2000), st.sampled_from([b"", b"\x1f\x8b\x08\0", b"PK\3\4", b"PK\5\6"]))
def test_noise_is_refused_in_words(tmp_path: Path, noise: bytes, start: bytes):
    assert tree_or_refusal(start + noise, tmp_path) is None
