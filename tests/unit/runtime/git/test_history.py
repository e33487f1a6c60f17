"""Commits between two of them, whichever way it goes."""

from __future__ import annotations

from pathlib import Path

from runtime.git.history import Course, history_between
from tests.unit.runtime.git.conftest import Work


def subjects(commits) -> list[str]:
    return [commit.subject for commit in commits]


def test_forward_and_back_tell_the_commits_that_come_or_go(work: Work) -> None:
    first = work.commit("First")
    work.commit("Second\n\nWith a body.")
    third = work.commit("Third \x1b[31mred\x1b[0m")
    repository = work.path / ".git"
    forward = history_between(repository, first, third)
    assert (forward.course, forward.added_count, forward.removed) == (Course.FORWARD, 2, ())
    assert subjects(forward.added) == ["Third red", "Second"]
    assert {commit.author for commit in forward.added} == {"Alice"}
    back = history_between(repository, third, first)
    assert (back.course, subjects(back.removed), back.added) == (Course.BACK, ["Third red", "Second"], ())


def test_histories_that_parted_are_told_apart(work: Work) -> None:
    start = work.commit("Start")
    ours = work.commit("Ours")
    work.git("reset", "--quiet", "--hard", start)
    theirs = work.commit("Theirs")
    found = history_between(work.path / ".git", ours, theirs)
    assert (found.course, subjects(found.removed), subjects(found.added)) == (Course.DIVERGED, ["Ours"], ["Theirs"])


def test_a_long_history_is_counted_and_cut(work: Work) -> None:
    first = work.commit("First")
    for number in range(5):
        last = work.commit(f"Change {number}")
    found = history_between(work.path / ".git", first, last, limit=2)
    assert (found.added_count, subjects(found.added)) == (5, ["Change 4", "Change 3"])


def test_what_is_not_in_the_repository_is_unknown(work: Work, tmp_path: Path) -> None:
    commit = work.commit("Only")
    assert history_between(work.path / ".git", "0" * 39 + "1", commit).course is Course.UNKNOWN
    assert history_between(tmp_path / "nowhere.git", "1" * 40, commit).course is Course.UNKNOWN
    assert history_between(work.path / ".git", commit, commit).course is Course.SAME
    assert history_between(work.path / ".git", "main", commit).course is Course.UNKNOWN  # the version of an archive
