"""Start the router of a home in the foreground: `python launch.py HOME` becomes nginx.

A master killed with SIGKILL leaves its workers serving, its listeners open and its admin socket in the way. Whatever is
left of an earlier start is told to finish first, so that a start always succeeds. Standard library alone: it starts fast.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

QUIT_SECONDS = 5.0  # to close the listeners; what is in flight goes on for longer


def nginx_binary() -> str:
    """nginx, also where sbin is not on the path; "" when there is none."""
    path = os.environ.get("PATH", os.defpath)
    return shutil.which("nginx", path=f"{path}:/usr/local/sbin:/usr/sbin:/sbin") or ""


def start_time(pid: int) -> str:
    """When the process began, in the kernel's ticks; "" when it is gone. Tells a reused pid from the same process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state == "Z" else fields[18]


def title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def master(home: Path) -> int:
    """The pid of the master that runs in this home, or 0."""
    pid = _read(home / "run" / "nginx.pid").strip()
    words = title(int(pid)) if pid.isdigit() else ""
    return int(pid) if words.startswith("nginx: master") and f"{home}/nginx.conf" in words else 0


def workers(home: Path) -> list[int]:
    """The living workers of this home, also those of a master that is gone."""
    found = []
    for line in _read(home / "run" / "workers").splitlines():
        pid, _, began = line.partition(" ")
        if pid.isdigit() and began and start_time(int(pid)) == began and title(int(pid)).startswith("nginx: "):
            found.append(int(pid))
    return found


def clear(home: Path) -> None:
    """Free the listeners and the admin socket of this home."""
    deadline = time.monotonic() + QUIT_SECONDS
    # Killed: one that ends in its own time would take the new one's pid file and admin socket with it.
    old_master = master(home)
    if old_master:
        _signal(old_master, signal.SIGKILL)
        while start_time(old_master) and time.monotonic() < deadline:
            time.sleep(0.01)
    # Only now: a worker that was just born has written itself down, or sees that its master is gone and goes too.
    old_workers = workers(home)
    for pid in old_workers:
        _signal(pid, signal.SIGQUIT)
    while holding := [pid for pid in old_workers if _holds_listeners(pid)]:
        if time.monotonic() > deadline:
            for pid in holding:
                _signal(pid, signal.SIGKILL)
            break
        time.sleep(0.02)
    for name in ("admin.sock", "nginx.pid", "workers"):
        (home / "run" / name).unlink(missing_ok=True)


def _holds_listeners(pid: int) -> bool:
    """A worker closes its listeners as it takes the title "shutting down"."""
    return bool(start_time(pid)) and "shutting down" not in title(pid)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def main(arguments: list[str]) -> int:  # noqa: RET503  # execv does not come back
    if len(arguments) != 1:
        sys.stderr.write("Usage: launch.py HOME\n")
        return 64
    home = Path(arguments[0]).absolute()
    binary = nginx_binary()
    if not binary:
        sys.stderr.write("nginx is not installed.\n")
        return 69
    if not (home / "nginx.conf").exists():
        sys.stderr.write(f"{home} has no nginx.conf: it has not been installed.\n")
        return 78
    clear(home)
    arguments = [binary, "-p", str(home), "-c", str(home / "nginx.conf"), "-g", "daemon off;"]
    os.execv(binary, arguments)  # noqa: S606  # no shell is what we want


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
