"""Start the router of a home in the foreground: `python launch.py HOME` becomes nginx.

A master killed with SIGKILL leaves its workers serving, its listeners open and its admin socket in the way. Whatever is
left of an earlier start is told to finish first, so that a start always succeeds. Standard library alone: it starts fast.

Public ports are served by two more processes, which a few lines of shell start again when they end: an nginx for TCP
(`launch.py HOME tcp`), whose sessions no change of a route may touch, and the relay for UDP (`launch.py HOME udp`).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

QUIT_SECONDS = 5.0  # to close the listeners; what is in flight goes on for longer
KEEP = 'while :; do "$@"; sleep 1; done'


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


def facts(home: Path) -> dict[str, Any]:
    """How public ports are served, as `install` wrote it down: `address`, `range`, `log`. Empty: they are not."""
    text = _read(home / "ports.json")
    return dict(json.loads(text)) if text else {}


def tcp_master(home: Path) -> int:
    """The pid of the nginx that serves the TCP ports of this home, or 0."""
    pid = _noted(home / "run" / "tcp.pid")
    words = title(pid) if pid else ""
    return pid if words.startswith("nginx: master") and f"{home}/tcp.conf" in words else 0


def tcp_workers(home: Path) -> list[int]:
    """Its workers, also those of a master that is gone: they have its log open."""
    return _with_tcp_log(home, "nginx: worker")


def workers(home: Path) -> list[int]:
    """The living workers of this home, also those of a master that is gone."""
    found = []
    for line in _read(home / "run" / "workers").splitlines():
        pid, _, began = line.partition(" ")
        if pid.isdigit() and began and start_time(int(pid)) == began and title(int(pid)).startswith("nginx: "):
            found.append(int(pid))
    return found


def clear_ports(home: Path) -> None:
    """Stop what serves the public ports, first the shells that would start it again."""
    for line in _read(home / "run" / "keepers").splitlines():
        pid, _, began = line.partition(" ")
        if pid.isdigit() and began and start_time(int(pid)) == began:
            _stop(int(pid))  # it starts nothing more while we look
            under_way = [child for child in _children(int(pid)) if str(Path(__file__).name) in title(child)]
            for each in (int(pid), *under_way):  # it has not become an nginx yet, and must not
                _signal(each, signal.SIGKILL)
    (home / "run" / "keepers").unlink(missing_ok=True)
    clear_tcp(home)
    clear_udp(home)
    (home / "run" / "tcp.listen").unlink(missing_ok=True)


def clear_tcp(home: Path) -> None:
    """Its listeners close. Sessions that are open go on, as their workers do."""
    while listening := [pid for pid in _tcp_processes(home) if _listens(pid)]:
        for pid in listening:
            _signal(pid, signal.SIGQUIT)
        for pid in listening:
            _until_gone(pid)
    (home / "run" / "tcp.pid").unlink(missing_ok=True)
    for file in (home / "run").glob("tcp.[0-9]*"):  # of one that was killed
        if not start_time(int(file.suffix[1:])):
            file.unlink(missing_ok=True)


def _tcp_processes(home: Path) -> list[int]:
    """Also a master that has no title yet, and a worker that still has the one of its master."""
    found = _with_tcp_log(home, "nginx: ")
    noted = _noted(home / "run" / "tcp.pid")
    return [noted, *found] if noted and noted not in found else found


def _with_tcp_log(home: Path, words: str) -> list[int]:
    """Processes whose title begins like this and that have the log of this home's TCP ports open."""
    log = facts(home).get("log", "")
    return [pid for pid in _processes() if title(pid).startswith(words) and log in _open_files(pid)]


def clear_udp(home: Path) -> None:
    pid = _noted(home / "run" / "udp.pid")
    if pid:
        _signal(pid, signal.SIGKILL)
        _until_gone(pid)
    (home / "run" / "udp.pid").unlink(missing_ok=True)


def _note(file: Path) -> None:
    """That this process, whatever program it becomes, is the one that a file stands for."""
    file.write_text(f"{os.getpid()} {start_time(os.getpid())}")


def _noted(file: Path) -> int:
    """The pid in such a file, 0 when that process is gone."""
    pid, _, began = _read(file).partition(" ")
    return int(pid) if pid.isdigit() and began and start_time(int(pid)) == began else 0


def _stop(pid: int) -> None:
    """It runs no further when this returns."""
    _signal(pid, signal.SIGSTOP)
    deadline = time.monotonic() + QUIT_SECONDS
    while _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].strip()[:1] not in {"T", "Z", "X", ""}:
        if time.monotonic() > deadline:
            return
        time.sleep(0.001)


def _until_gone(pid: int) -> None:
    """Or until it has closed its listeners; a master does that at once."""
    deadline = time.monotonic() + QUIT_SECONDS
    while start_time(pid) and _listens(pid):
        if time.monotonic() > deadline:
            _signal(pid, signal.SIGKILL)
            return
        time.sleep(0.01)


def _listens(pid: int) -> bool:
    inodes = {line.split()[9] for name in ("tcp", "tcp6") for line in _socket_lines(name) if line.split()[3] == "0A"}
    inodes |= {line.split()[9] for name in ("udp", "udp6") for line in _socket_lines(name)}
    return any(name.startswith("socket:[") and name[8:-1] in inodes for name in _open_files(pid))


def _socket_lines(name: str) -> list[str]:
    return _read(Path("/proc/net") / name).splitlines()[1:]


def listening_ports() -> set[int]:
    """TCP ports of this machine that somebody listens on."""
    lines = [line.split() for name in ("tcp", "tcp6") for line in _socket_lines(name)]
    return {int(fields[1].rpartition(":")[2], 16) for fields in lines if fields[3] == "0A"}


def sessions(address: tuple[str, int]) -> int:
    """Open TCP connections from this machine to an address."""
    ip, port = address
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    packed = socket.inet_pton(family, ip)
    # The kernel prints each 32-bit word as the machine reads it.
    words = [packed[n : n + 4] for n in range(0, len(packed), 4)]
    wanted = "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words) + f":{port:04X}"
    lines = [line.split() for line in _socket_lines("tcp6" if ":" in ip else "tcp")]
    return sum(fields[2] == wanted and fields[3] == "01" for fields in lines)


def write_listen(home: Path) -> set[int]:
    """What the nginx for TCP shall listen on: the range and ports beyond it that are bound, without those that somebody
    else has. Returns these."""
    installed = facts(home)
    address, (low, high) = installed["address"], installed["range"]
    wanted = set(range(low, high + 1)) if low else set()
    wanted |= {int(file.stem[4:]) for file in (home / "ports").glob("tcp-*.json") if file.stem[4:].isdigit()}
    ours = listened(home) if tcp_master(home) else set()
    taken = {port for port in wanted - ours if not _is_free(address, port)}
    bracketed = f"[{address}]" if ":" in address else address
    options = " ipv6only=off" if address == "::" else ""
    text = "".join(
        f"listen {bracketed}:{first}{f'-{last}' if last > first else ''} so_keepalive=on backlog=1024{options};\n"
        for first, last in _runs(sorted(wanted - taken))
    )
    beside = home / "run" / "tcp.listen.new"
    beside.write_text(text)
    beside.replace(home / "run" / "tcp.listen")
    return taken


def listened(home: Path) -> set[int]:
    """The ports in what `write_listen` wrote last."""
    ports: set[int] = set()
    for line in _read(home / "run" / "tcp.listen").splitlines():
        first, _, last = line.split()[1].rstrip(";").rpartition(":")[2].partition("-")
        ports |= set(range(int(first), int(last or first) + 1))
    return ports


def _runs(ports: Iterable[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for port in ports:
        if runs and runs[-1][1] == port - 1:
            runs[-1] = (runs[-1][0], port)
        else:
            runs.append((port, port))
    return runs


def _is_free(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


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


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _children(pid: int) -> list[int]:
    return [int(child) for child in _read(Path(f"/proc/{pid}/task/{pid}/children")).split()]


def _open_files(pid: int) -> list[str]:
    names = []
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                names.append(str(entry.readlink()))
            except OSError:
                continue  # closed just now
    except OSError:
        pass  # it is gone
    return names


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


def _keep(home: Path, what: str) -> None:
    """Start what serves the public ports, and start it again whenever it ends. A child of init, as nginx, which this
    process becomes, would wonder about a child of its own."""
    if os.fork():
        os.wait()
        return
    keeper = os.fork()
    if keeper:  # noted before anybody hears that the router runs
        with (home / "run" / "keepers").open("a") as file:
            file.write(f"{keeper} {start_time(keeper)}\n")
        os._exit(0)
    me = str(Path(__file__).absolute())
    os.execv("/bin/sh", ["sh", "-c", KEEP, "keep", sys.executable, "-I", "-S", me, str(home), what])  # noqa: S606


def _become_tcp(home: Path, binary: str) -> int:
    clear_tcp(home)
    taken = write_listen(home)
    if taken:
        words = ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in _runs(sorted(taken)))
        sys.stderr.write(f"TCP ports that another process has are left out: {words}\n")
    if not listened(home):
        sys.stderr.write("There is no TCP port to listen on; looking again in a minute.\n")
        time.sleep(60)
        return 75
    _note(home / "run" / "tcp.pid")
    # nginx removes its own pid file when it ends, which may be long after another one has taken its place.
    return _become(binary, home, "tcp.conf", options=f"pid {home}/run/tcp.{os.getpid()};")


def _become_udp(home: Path) -> int:  # execv does not come back
    clear_udp(home)
    _note(home / "run" / "udp.pid")
    relay = str(Path(__file__).with_name("udp.py").absolute())
    os.execv(sys.executable, [sys.executable, "-I", "-S", relay, str(home)])  # noqa: S606


def _become(binary: str, home: Path, configuration: str, *, options: str = "") -> int:  # execv does not come back
    arguments = [binary, "-p", str(home), "-c", str(home / configuration), "-g", f"daemon off; {options}".strip()]
    os.execv(binary, arguments)  # noqa: S606  # no shell is what we want


def main(arguments: list[str]) -> int:
    if not arguments or arguments[1:] not in ([], ["tcp"], ["udp"]):
        sys.stderr.write("Usage: launch.py HOME [tcp|udp]\n")
        return 64
    home = Path(arguments[0]).absolute()
    binary = nginx_binary()
    if not binary:
        sys.stderr.write("nginx is not installed.\n")
        return 69
    if not (home / "nginx.conf").exists():
        sys.stderr.write(f"{home} has no nginx.conf: it has not been installed.\n")
        return 78
    match arguments[1:]:
        case ["tcp"]:
            return _become_tcp(home, binary)
        case ["udp"]:
            return _become_udp(home)
    clear_ports(home)
    clear(home)
    if facts(home):
        _keep(home, "tcp")
        _keep(home, "udp")
    return _become(binary, home, "nginx.conf")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
