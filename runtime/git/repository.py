"""Bare repositories: making one, finishing a push from the job that deployed it, and questions about refs and commits."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import Conflict, NotFound, PlatformError
from runtime.git.api import Push, RefUpdate
from runtime.git.process import run_git
from runtime.git.text import plain

# git's own name for it: `git prune` knows what to do with one that nobody finished.
QUARANTINE_PREFIX = "tmp_objdir-incoming-"
_ID = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class CommitMessage:
    author: str
    subject: str


def create_repository(path: Path, default_branch: str = "main") -> None:
    """Nothing happens when there is one already. It appears whole or not at all."""
    if (path / "HEAD").is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        run_git(
            "init", "--quiet", "--bare", "--template=", "--object-format=sha1", f"--initial-branch={default_branch}",
            repository=new,
        )  # fmt: skip
        new.chmod(0o755)
        try:
            new.rename(path)
        except OSError:
            if not (path / "HEAD").is_file():
                raise
    finally:
        shutil.rmtree(new, ignore_errors=True)


def set_head(repository: Path, branch: str) -> None:
    """The branch that a clone checks out."""
    run_git("symbolic-ref", "HEAD", f"refs/heads/{branch}", repository=repository)


def ref_value(repository: Path, ref: str) -> str | None:
    """The id that a full ref name ("refs/heads/main") holds now."""
    if ".." not in ref:
        with contextlib.suppress(OSError, UnicodeDecodeError):  # packed, or not there: git knows
            value = (repository / ref).read_text("ascii").strip()
            if _ID.fullmatch(value):
                return value
    status, output = run_git(
        "rev-parse", "--verify", "--quiet", "--end-of-options", ref, repository=repository, ok=(0, 1)
    )
    return output.decode().strip() if status == 0 else None


def is_ancestor(repository: Path, ancestor: str, descendant: str, *, quarantine: Path | None = None) -> bool:
    """Whether everything in `ancestor` is in `descendant` too. No, when either is missing."""
    status, _ = run_git(
        "merge-base", "--is-ancestor", ancestor, descendant, repository=repository, quarantine=quarantine, ok=(0, 1, 128)
    )
    return status == 0


def commit_message(repository: Path, quarantine: Path | None, commit: str) -> CommitMessage:
    if not _ID.fullmatch(commit):
        raise ValueError(commit)
    _, output = run_git(
        "log", "-1", "--no-show-signature", "--no-color", "--encoding=UTF-8", "--format=%an%x00%s", commit,
        repository=repository, quarantine=quarantine,
    )  # fmt: skip
    author, _, subject = output.decode("utf-8", "replace").partition("\0")
    return CommitMessage(author=plain(author)[:200], subject=plain(subject)[:500])


def make_quarantine(repository: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=QUARANTINE_PREFIX, dir=repository / "objects"))


def check_push(push: Push, *, allow_force: bool) -> None:
    """Raises `Conflict` when `finish_push` would, as things are now. Cheap: ask before a build, too."""
    update = push.update
    current = ref_value(push.repository, update.ref)
    name = update.ref.removeprefix("refs/heads/")
    if current is None or current == update.new:
        return
    if current != update.old:
        if not update.is_delete and is_ancestor(push.repository, current, update.new, quarantine=push.quarantine):
            return
        raise Conflict(
            f"fetch first: {name} has moved to {current[:12]} meanwhile",
            hint="Fetch, merge or rebase onto it, and push again.",
            id="fetch_first",
        )
    if update.is_delete or allow_force:
        return
    if not is_ancestor(push.repository, current, update.new, quarantine=push.quarantine):
        raise Conflict(
            f"non-fast-forward: {name} has commits that yours does not, and may not be overwritten",
            hint="Fetch, merge or rebase onto it, and push again.",
            id="non_fast_forward",
        )


def finish_push(push: Push, *, allow_force: bool) -> None:
    """Publishes the objects and moves the ref. Called by the job, in any process; calling it again does no harm.

    Raises `Conflict` when the ref has moved meanwhile to something that the new commit does not descend from,
    `NotFound` when the objects are gone. Either way nothing of the push is left.
    """
    with _locked(push.repository):
        try:
            check_push(push, allow_force=allow_force)
            if not push.update.is_delete:
                _require_objects(push)
        except (Conflict, NotFound):
            _forget(push)
            raise
        if push.quarantine is not None:
            _publish_objects(push.repository, push.quarantine)
        if push.shallow:
            _add_shallow(push.repository, push.shallow)
        _move_ref(push.repository, push.update)
        _forget(push)


def abandon_push(push: Push) -> None:
    """Forgets the objects. Calling it again, or after `finish_push`, does no harm."""
    if push.quarantine is not None and push.repository.is_dir():
        with _locked(push.repository):
            _forget(push)


def housekeep(path: Path, *, keep: Collection[Path] = (), older_than_seconds: float = 86_400.0) -> int:
    """Packs the repository and removes quarantines that nobody finished; `keep` names those still waiting.

    Returns how many quarantines went. Not while a push of this repository is being built, if that can be helped.
    """
    removed = 0
    border = time.time() - older_than_seconds
    for quarantine in (path / "objects").glob(f"{QUARANTINE_PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):
            if quarantine not in keep and quarantine.stat().st_mtime < border:
                shutil.rmtree(quarantine, ignore_errors=True)
                removed += 1
    run_git("gc", "--quiet", "--prune=2.weeks.ago", repository=path)
    return removed


@contextlib.contextmanager
def _locked(repository: Path) -> Iterator[None]:
    """Pushes to one repository finish one after the other, whichever process they are in."""
    with (repository / "push.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _forget(push: Push) -> None:
    if push.quarantine is None:
        return
    _check_quarantine(push.repository, push.quarantine)
    target = push.repository / "objects" / "pack"
    for pack in push.quarantine.glob("pack/pack-*.pack"):
        # A worker that died while publishing: without its .idx nobody can have used it.
        if not (target / pack.with_suffix(".idx").name).exists():
            for suffix in (".pack", ".rev"):
                (target / pack.with_suffix(suffix).name).unlink(missing_ok=True)
    shutil.rmtree(push.quarantine, ignore_errors=True)


def _check_quarantine(repository: Path, quarantine: Path) -> None:
    """The path comes from a row: never remove or move anything else by it."""
    if quarantine.parent != repository / "objects" or not quarantine.name.startswith(QUARANTINE_PREFIX):
        raise PlatformError(f"{quarantine} is not a quarantine of {repository}.", id="git_error")


def _require_objects(push: Push) -> None:
    status, _ = run_git(
        "cat-file", "-e", push.update.new, repository=push.repository, quarantine=push.quarantine, ok=(0, 1, 128)
    )
    if status != 0:
        raise NotFound(f"The objects of {push.update.new[:12]} are no longer here.", hint="Push again.", id="push_gone")


def _publish_objects(repository: Path, quarantine: Path) -> None:
    """Adds the packs so that a reader sees one whole or not at all: git looks for the .idx, which comes last.

    Links, as the quarantine must stay whole until the ref has moved: a worker may die anywhere in between.
    """
    _check_quarantine(repository, quarantine)
    packs = quarantine / "pack"
    if not packs.is_dir():
        return
    target = repository / "objects" / "pack"
    target.mkdir(exist_ok=True)
    for file in sorted(packs.glob("pack-*"), key=lambda file: (file.suffix == ".idx", file.name)):
        _sync(file)
        with contextlib.suppress(FileExistsError):  # the same pack by an earlier attempt, or by another push
            (target / file.name).hardlink_to(file)
    _sync(target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _add_shallow(repository: Path, commits: Collection[str]) -> None:
    """git's own file, with git's own lock: `git gc` rewrites it too."""
    path = repository / "shallow"
    lock = repository / "shallow.lock"
    deadline = time.monotonic() + 10
    while True:
        try:
            descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            break
        except FileExistsError:
            if time.monotonic() > deadline:
                raise PlatformError(f"{lock} has been locked for ten seconds.", id="git_error") from None
            time.sleep(0.02)
    try:
        with os.fdopen(descriptor, "w") as file:
            known = path.read_text().split() if path.exists() else []
            file.writelines(f"{commit}\n" for commit in sorted({*known, *commits}))
            file.flush()
            os.fsync(file.fileno())
        lock.replace(path)
    except BaseException:
        lock.unlink(missing_ok=True)
        raise


def _move_ref(repository: Path, update: RefUpdate) -> None:
    """Compare-and-swap. `check_push` has looked under our lock; a stranger with a shell may still come between."""
    current = ref_value(repository, update.ref)
    if update.is_delete:
        if current is not None:
            run_git("update-ref", "-d", update.ref, current, repository=repository)
    elif current != update.new:
        run_git("update-ref", update.ref, update.new, current or "0" * 40, repository=repository)
