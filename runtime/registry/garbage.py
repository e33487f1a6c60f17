"""Collect what no image in the bundled registry refers to any more."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import time
from pathlib import Path

from runtime.errors import RegistryError

log = logging.getLogger(__name__)
DEADLINE_SECONDS = 1800


def collect_garbage(config: Path, data: Path, *, lock: int) -> int:
    """Bytes freed. Nothing may be pushed meanwhile: `lock` is the descriptor of a held lock, which the process takes
    along, so that it lasts as long as the collection even when we don't. Raises `RegistryError`.

    Manifests are left alone, also those without a tag (no `--delete-untagged`): what is deployed is known by digest. It
    marks first and deletes one blob after the other, so one that was cut short has deleted nothing that is needed.
    """
    if not (data / "docker" / "registry" / "v2" / "repositories").is_dir():
        return 0  # nobody has pushed yet, and it would call that an error
    before, started = size_of(data), time.monotonic()
    try:
        done = subprocess.run(
            ["nice", "-n", "10", "docker-registry", "garbage-collect", str(config)],
            env={"PATH": os.environ.get("PATH", os.defpath), "GOMEMLIMIT": "64MiB", "HOME": "/nonexistent"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(lock,),
            timeout=DEADLINE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise RegistryError(f"Collecting the registry's garbage took longer than {DEADLINE_SECONDS} s.") from exc
    except OSError as exc:
        raise RegistryError(f"docker-registry can't be run: {exc}.") from exc
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise RegistryError(f"Collecting the registry's garbage ended with {done.returncode}: {''.join(last)[:500]}")
    freed = max(before - size_of(data), 0)
    log.info("garbage_collected", extra={"freed_bytes": freed, "seconds": round(time.monotonic() - started, 1)})
    return freed


def untagged(data: Path, repository: str) -> list[str]:
    """Digests of a repository's manifests that have no tag any more, and are not part of an index that has one."""
    root = data / "docker" / "registry" / "v2"
    manifests = root / "repositories" / repository / "_manifests"
    known = {f"sha256:{link.parent.name}" for link in manifests.glob("revisions/sha256/*/link")}
    kept = {link.read_text().strip() for link in manifests.glob("tags/*/current/link")}
    for digest in kept.copy():
        hexadecimal = digest.partition(":")[2]
        try:
            content = (root / "blobs" / "sha256" / hexadecimal[:2] / hexadecimal / "data").read_bytes()
            kept |= {str(entry["digest"]) for entry in json.loads(content).get("manifests") or ()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # no index
    return sorted(known - kept)


def size_of(folder: Path) -> int:
    """Of all files below, as far as they are still there."""
    total = 0
    pending = [str(folder)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            continue
    return total
