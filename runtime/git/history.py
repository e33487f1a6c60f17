"""What happened between two commits, in either direction."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from runtime.git.process import run_git
from runtime.git.text import plain

_ID = re.compile(r"[0-9a-f]{40}")
_FORMAT = "%m%x00%H%x00%an%x00%aI%x00%s"


class Course(StrEnum):
    SAME = "same"
    FORWARD = "forward"  # the new one has commits that the old one has not
    BACK = "back"  # the other way round
    DIVERGED = "diverged"
    UNKNOWN = "unknown"  # one of them is not in the repository, or no longer


@dataclass(frozen=True, slots=True)
class Commit:
    id: str
    author: str
    at: datetime
    subject: str


@dataclass(frozen=True, slots=True)
class History:
    """`added` come with the new commit, `removed` go with the old one; newest first, no more than were asked for."""

    course: Course
    added: tuple[Commit, ...] = ()
    removed: tuple[Commit, ...] = ()
    added_count: int = 0
    removed_count: int = 0


def history_between(repository: Path, old: str, new: str, *, limit: int = 100) -> History:
    """Between full ids; what is none, such as the version of an archive, is unknown here, and so is what is not there."""
    if old == new:
        return History(Course.SAME)
    if not (_ID.fullmatch(old) and _ID.fullmatch(new) and (repository / "HEAD").is_file()):
        return History(Course.UNKNOWN)
    span = ("--end-of-options", f"{old}...{new}", "--")
    status, counted = run_git("rev-list", "--left-right", "--count", *span, repository=repository, ok=(0, 128))
    if status != 0:
        return History(Course.UNKNOWN)
    removed_count, added_count = (int(number) for number in counted.split())
    _, output = run_git(
        "log", "-z", "--left-right", f"--format={_FORMAT}", f"--max-count={limit}", *span, repository=repository
    )
    added: list[Commit] = []
    removed: list[Commit] = []
    fields = output.decode("utf-8", "replace").split("\0")
    for start in range(0, len(fields) - 4, 5):
        side, commit, author, at, subject = fields[start : start + 5]
        (added if side == ">" else removed).append(
            Commit(commit, plain(author), datetime.fromisoformat(at), plain(subject))
        )
    course = Course.DIVERGED if added_count and removed_count else Course.FORWARD if added_count else Course.BACK
    return History(course, tuple(added), tuple(removed), added_count, removed_count)
