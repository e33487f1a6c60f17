"""Where the source of a build is: in the repository, in an uploaded archive, or at an address that somebody named."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from paas.accounts.models import User
from paas.accounts.services import hash_token
from paas.apps.selectors import repository_path
from paas.builds.models import ACTIVE, Build, SourceBlob
from paas.core import audit
from runtime.builder.api import BuildConsole, SourceTree
from runtime.errors import BuildFailed, Conflict, InvalidInput, NotFound
from runtime.git.tree import GitTree
from runtime.sources.archive import read_archive, verify_checksum
from runtime.sources.fetch import Fetcher, FetchSettings, without_secrets

log = structlog.get_logger()
UPLOAD_LIFETIME = timedelta(hours=1)
LIFETIME = timedelta(days=1)
MOST_PER_USER = 20  # at the same time: each may take as much disk as the largest push
_OURS = re.compile(r"/sources/(?P<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_COPY = 256 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """Paths with their secrets, which are shown once. Whoever knows one may use it, and needs nothing else."""

    blob: SourceBlob
    put_path: str
    get_path: str


@transaction.atomic
def create_source(*, by: User) -> Upload:
    """A place to upload an archive to, within an hour. Raises `Conflict` for somebody who has many of them."""
    now = timezone.now()
    if SourceBlob.objects.filter(created_by=by, expires_at__gt=now).count() >= MOST_PER_USER:
        forget_sources(of=by)
    if SourceBlob.objects.filter(created_by=by, expires_at__gt=now).count() >= MOST_PER_USER:
        raise Conflict(
            f"You have {MOST_PER_USER} uploads that are younger than a day and not built yet.",
            hint="Build one of them, or wait until one has expired.",
            id="too_many_sources",
        )
    put, get = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    blob = SourceBlob.objects.create(
        created_by=by,
        put_digest=hash_token(put),
        get_digest=hash_token(get),
        upload_until=now + UPLOAD_LIFETIME,
        expires_at=now + LIFETIME,
    )
    audit.record("source.create", by=by, source=str(blob.pk))
    return Upload(blob, f"/sources/{blob.pk}?put={put}", f"/sources/{blob.pk}?get={get}")


def receive_source(blob_id: UUID, secret: str, read: Callable[[int], bytes], length: int) -> None:
    """The content of an upload, straight to the disk. Raises `NotFound`, or `InvalidInput` when it is too large or ends
    early; what was there before stays then."""
    blob = SourceBlob.objects.filter(pk=blob_id, upload_until__gt=timezone.now()).first()
    if blob is None or not constant_time_compare(blob.put_digest, hash_token(secret)):
        raise _gone()
    if length > settings.ENV.max_push_bytes:
        raise InvalidInput(
            f"The archive has more than {settings.ENV.max_push_bytes // 1024**2} MiB.",
            hint="Keep generated files and data out of it, or raise PAAS_MAX_PUSH_MB on the host.",
            id="source_too_large",
        )
    path = _file(blob)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as out:
            _copy(read, out, length)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    SourceBlob.objects.filter(pk=blob.pk).update(size_bytes=length, updated_at=timezone.now())


def sent_source(blob_id: UUID, secret: str) -> Path:
    """What was uploaded, for whoever has its address. Raises `NotFound`."""
    blob = _by_secret(blob_id, secret)
    path = _file(blob)
    if not path.exists():
        raise _gone()
    return path


def blob_of(url: str) -> SourceBlob | None:
    """None for an address that is not one of ours. Raises `NotFound` for one of ours that has expired, or never was."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    match = _OURS.fullmatch(parts.path)
    secret = parse_qs(parts.query).get("get", [""])[0]
    if match is None or not secret:
        return None
    blob = _by_secret(UUID(match["id"]), secret)
    if blob.size_bytes is None:
        raise InvalidInput(
            "Nothing was uploaded there yet.",
            hint="PUT the archive to the put_url first, then build from the get_url.",
            id="source_not_uploaded",
        )
    return blob


def shown_url(build: Build) -> str:
    """Without what gives access."""
    return without_secrets(build.source_url)


@contextmanager
def opened_source(build: Build, console: BuildConsole) -> Iterator[SourceTree]:
    """The files of a build for as long as it takes. Raises `BuildFailed`."""
    if build.is_push:
        quarantine = Path(build.quarantine) if build.quarantine else None
        yield GitTree(repository_path(build.app), build.new, quarantine=quarantine)
        return
    cache = settings.ENV.home / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="build-source-", dir=cache, ignore_cleanup_errors=True) as folder:
        archive = Path(folder) / "archive"
        if build.source_blob is not None:
            try:
                archive.hardlink_to(_file(build.source_blob))  # another upload to the same place changes nothing here
            except FileNotFoundError as exc:
                raise _lost() from exc
        elif build.source_url:
            console.step(f"Fetching {shown_url(build)}")
            _fetcher().fetch(build.source_url, archive, check=console.check)
        else:
            raise _lost()
        if build.checksum:
            verify_checksum(archive, build.checksum, check=console.check)
        tree = read_archive(archive, folder=Path(folder), check=console.check)
        console.step(f"Archive of {len(tree.files)} file{'' if len(tree.files) == 1 else 's'} received")
        yield replace(tree, commit=build.new or tree.commit, time=_known_time(build, tree.tree_id) or tree.time)


def forget_sources(*, of: User | None = None) -> int:
    """Those that have expired, and files without a row; of one person, also those that have been built. How many."""
    gone = SourceBlob.objects.exclude(builds__status__in=ACTIVE)
    if of is None:
        gone = gone.filter(expires_at__lte=timezone.now())
    else:
        gone = gone.filter(created_by=of, builds__isnull=False)
    count = 0
    for blob in list(gone.distinct()):
        _file(blob).unlink(missing_ok=True)
        blob.delete()
        count += 1
    if of is None:
        _remove_strays()
    return count


def _remove_strays() -> None:
    folder = settings.ENV.home / "sources"
    known = {blob_id.hex for blob_id in SourceBlob.objects.values_list("pk", flat=True)}
    border = (timezone.now() - LIFETIME).timestamp()
    for path in folder.glob("*"):
        if path.name not in known and path.stat().st_mtime < border:
            path.unlink(missing_ok=True)


def _known_time(build: Build, tree_id: str) -> int | None:
    """A push, or an archive before, had the same files: with their time they become the same image."""
    earlier = build.app.builds.filter(tree_id=tree_id, source_time__isnull=False).exclude(pk=build.pk)
    return earlier.order_by("-number").values_list("source_time", flat=True).first()


def _fetcher() -> Fetcher:
    env = settings.ENV
    return Fetcher(
        FetchSettings(
            max_bytes=env.max_push_bytes,
            allowed=env.hooks_allow,
            ca_bundle=env.ca_bundle,
            environment=env.build_environment,
        )
    )


def _copy(read: Callable[[int], bytes], out: BinaryIO, length: int) -> None:
    left = length
    while left and (piece := read(min(left, _COPY))):
        out.write(piece)
        left -= len(piece)
    if left:
        raise InvalidInput(
            f"The upload ended {left} bytes too early.", hint="Upload it again.", id="upload_incomplete"
        )  # fmt: skip


def _by_secret(blob_id: UUID, secret: str) -> SourceBlob:
    blob = SourceBlob.objects.filter(pk=blob_id, expires_at__gt=timezone.now()).first()
    if blob is None or not constant_time_compare(blob.get_digest, hash_token(secret)):
        raise _gone()
    return blob


def _file(blob: SourceBlob) -> Path:
    return settings.ENV.home / "sources" / blob.pk.hex


def _gone() -> NotFound:
    return NotFound(
        "There is no such upload, or it has expired.", hint="Begin with another one: POST /sources", id="source_not_found"
    )


def _lost() -> BuildFailed:
    return BuildFailed("The archive of this build has expired.", hint="Upload it again.", id="source_gone")
