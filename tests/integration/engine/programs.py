"""A tiny image made here, without a registry: a static busybox and a few shell scripts."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
APPLETS = ("sh", "cat", "sleep", "echo", "nc", "httpd", "dd", "tail", "true", "id", "mkdir", "grep")
SCRIPTS = {
    "hello": "echo hello; echo 'oh dear' >&2; exit 3",
    "serve": "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.1; done",
    "stubborn": "trap '' TERM; echo ready; while :; do sleep 0.1; done",
    "hungry": "x=0123456789abcdef; while :; do x=$x$x; done",
    "web": 'mkdir -p /tmp/www; echo "$GREETING" >/tmp/www/index.html; exec httpd -f -p ${BIND:-}${PORT} -h /tmp/www',
    "crash": "echo starting; echo 'ModuleNotFoundError: No module named nowhere' >&2; exit 1",
}


def rootfs() -> bytes:
    if not BUSYBOX.exists():
        subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", "busybox-static"], check=True)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777)):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            archive.addfile(folder)
        archive.add(BUSYBOX, "bin/busybox")
        for name in APPLETS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
        for name, text in SCRIPTS.items():
            script = tarfile.TarInfo(f"bin/{name}")
            content = f"#!/bin/sh\n{text}\n".encode()
            script.mode, script.size = 0o755, len(content)
            archive.addfile(script, io.BytesIO(content))
    return out.getvalue()
