"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write(file: Path, text: str, *, mode: int = 0o644) -> bool:
    """Atomic, and on the disk when it returns; False when the file said the same already."""
    try:
        if file.read_text() == text:
            return False
    except OSError:
        pass
    beside = file.with_name(f".{file.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    beside.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True
