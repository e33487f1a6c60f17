from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.errors import Conflict, NotFound, PlatformError
from runtime.git.api import Push, RefUpdate
from runtime.git.repository import (
    CommitMessage,
    abandon_push,
    check_push,
    commit_message,
    create_repository,
    finish_push,
    housekeep,
    is_ancestor,
    ref_value,
)
from tests.unit.runtime.git.conftest import Work

ZERO = "0" * 40
MAIN = "refs/heads/main"
Quarantined = Callable[[bytes], Path]


@pytest.fixture
def push(repository: Path, work: Work, quarantined: Quarantined) -> Push:
    work.write("file")
    commit = work.commit("Première\n\nBody")
    return Push(repository, quarantined(work.pack("HEAD")), RefUpdate(MAIN, ZERO, commit))


def following(push: Push, work: Work, quarantined: Quarantined) -> Push:
    """A push that was sent when `push` was not finished yet, and that builds on it."""
    commit = work.commit()
    return dataclasses.replace(
        push, quarantine=quarantined(work.pack("HEAD")), update=RefUpdate(MAIN, push.update.old, commit)
    )


def object_files(repository: Path) -> list[Path]:
    return [path for path in (repository / "objects").rglob("*") if path.is_file()]


def test_a_new_repository_is_bare_and_points_to_its_branch(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "app.git"
    create_repository(path, "trunk")
    create_repository(path, "other")  # there is one
    assert (path / "HEAD").read_text() == "ref: refs/heads/trunk\n"
    assert [child.name for child in path.parent.iterdir()] == ["app.git"]
    assert ref_value(path, "refs/heads/trunk") is None


def test_a_finished_push_is_published_and_leaves_no_quarantine(push: Push) -> None:
    finish_push(push, allow_force=False)
    assert ref_value(push.repository, MAIN) == push.update.new
    assert push.quarantine is not None
    assert not push.quarantine.exists()
    finish_push(push, allow_force=False)
    abandon_push(push)
    assert commit_message(push.repository, None, push.update.new).subject == "Première"


def test_an_abandoned_push_leaves_no_byte(push: Push) -> None:
    abandon_push(push)
    abandon_push(push)
    assert object_files(push.repository) == []


@pytest.mark.parametrize("published", [".pack", ".pack .idx"])
def test_a_worker_that_died_while_publishing_can_be_repeated(push: Push, published: str) -> None:
    publish_some(push, published)
    finish_push(push, allow_force=False)
    assert ref_value(push.repository, MAIN) == push.update.new
    assert push.quarantine is not None
    assert not push.quarantine.exists()


def test_a_push_that_is_abandoned_while_publishing_leaves_no_byte(push: Push) -> None:
    publish_some(push, ".pack")
    abandon_push(push)
    assert object_files(push.repository) == []


def publish_some(push: Push, suffixes: str) -> None:
    assert push.quarantine is not None
    target = push.repository / "objects" / "pack"
    target.mkdir(exist_ok=True)
    for suffix in suffixes.split():
        (file,) = push.quarantine.glob(f"pack/*{suffix}")
        os.link(file, target / file.name)


def test_a_worker_that_died_before_the_ref_moved_can_be_repeated(push: Push) -> None:
    finish_push(push, allow_force=False)
    (push.repository / MAIN).unlink()
    finish_push(push, allow_force=False)
    assert ref_value(push.repository, MAIN) == push.update.new


def test_a_push_whose_objects_are_gone_is_not_finished(push: Push) -> None:
    assert push.quarantine is not None
    shutil.rmtree(push.quarantine)
    with pytest.raises(NotFound, match=r"no longer here\. Push again\."):
        finish_push(push, allow_force=False)
    assert ref_value(push.repository, MAIN) is None


def test_a_ref_that_moved_is_moved_on_when_the_commit_descends_from_it(
    push: Push, work: Work, quarantined: Quarantined
) -> None:
    later = following(push, work, quarantined)
    finish_push(push, allow_force=False)
    check_push(later, allow_force=False)
    finish_push(later, allow_force=False)
    assert ref_value(push.repository, MAIN) == later.update.new


@pytest.mark.parametrize("allow_force", [True, False])
def test_a_ref_that_moved_elsewhere_is_a_conflict_and_nothing_is_left(
    push: Push, work: Work, quarantined: Quarantined, allow_force: bool
) -> None:
    work.git("checkout", "--quiet", "--orphan", "other")
    other = following(push, work, quarantined)
    finish_push(push, allow_force=False)
    assert other.quarantine is not None
    before = [path for path in object_files(push.repository) if other.quarantine not in path.parents]
    with pytest.raises(Conflict, match="fetch first: main has moved to"):
        finish_push(other, allow_force=allow_force)
    assert ref_value(push.repository, MAIN) == push.update.new
    assert object_files(push.repository) == before


def test_history_is_rewritten_only_where_that_is_allowed(push: Push, work: Work, quarantined: Quarantined) -> None:
    finish_push(push, allow_force=False)
    work.git("checkout", "--quiet", "--orphan", "other")
    work.write("other")
    commit = work.commit()
    forced = Push(push.repository, quarantined(work.pack("HEAD")), RefUpdate(MAIN, push.update.new, commit))
    with pytest.raises(Conflict, match="non-fast-forward"):
        check_push(forced, allow_force=False)
    finish_push(forced, allow_force=True)
    assert ref_value(push.repository, MAIN) == commit


def test_a_branch_is_deleted_unless_it_moved(push: Push) -> None:
    finish_push(push, allow_force=False)
    wrong = Push(push.repository, None, RefUpdate(MAIN, "1" * 40, ZERO))
    with pytest.raises(Conflict):
        finish_push(wrong, allow_force=True)
    delete = Push(push.repository, None, RefUpdate(MAIN, push.update.new, ZERO))
    finish_push(delete, allow_force=False)
    finish_push(delete, allow_force=False)
    assert ref_value(push.repository, MAIN) is None


def test_history_that_ends_is_noted_once(push: Push) -> None:
    shallow = dataclasses.replace(push, shallow=(push.update.new,))
    finish_push(shallow, allow_force=False)
    finish_push(shallow, allow_force=False)
    assert (push.repository / "shallow").read_text().split() == [push.update.new]
    assert not (push.repository / "shallow.lock").exists()


def test_a_path_from_a_row_that_is_no_quarantine_is_never_removed(push: Push, tmp_path: Path) -> None:
    innocent = tmp_path / "innocent"
    innocent.mkdir()
    with pytest.raises(PlatformError):
        abandon_push(dataclasses.replace(push, quarantine=innocent))
    assert innocent.is_dir()


def test_commits_in_quarantine_can_be_asked_about(push: Push, work: Work) -> None:
    commit = push.update.new
    assert commit_message(push.repository, push.quarantine, commit) == CommitMessage("Alice", "Première")
    assert is_ancestor(push.repository, commit, commit, quarantine=push.quarantine)
    assert not is_ancestor(push.repository, commit, commit)
    with pytest.raises(PlatformError):
        commit_message(push.repository, None, commit)


def test_housekeeping_packs_and_sweeps_what_nobody_finished(push: Push, work: Work, quarantined: Quarantined) -> None:
    finish_push(push, allow_force=False)
    stale, kept, fresh = (quarantined(work.pack("HEAD")) for _ in range(3))
    long_ago = time.time() - 100_000
    os.utime(stale, (long_ago, long_ago))
    os.utime(kept, (long_ago, long_ago))
    assert housekeep(push.repository, keep={kept}) == 1
    assert not stale.exists()
    assert kept.exists()
    assert fresh.exists()
    assert ref_value(push.repository, MAIN) == push.update.new
