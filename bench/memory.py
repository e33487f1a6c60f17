"""How much memory the platform takes at rest: a table of PSS for each process of the Procfile, and their sum.

    .venv/bin/python bench/memory.py [--limit MB]    exits with 1 when the sum is above the limit

PSS counts a page shared by n processes as 1/n in each, so that the sum is what the machine would get back.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from paas import env as environment
from paas.core.processes import Lock, Sessions, every_process, read_stat


def pss_kilobytes(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


def measure(run_dir: Path) -> dict[str, list[int]]:
    """Name in the Procfile -> PSS of each of its processes, in KB."""
    found: dict[str, list[int]] = defaultdict(list)
    for pid, name in Sessions(run_dir / "sessions").members().items():
        found[name].append(pss_kilobytes(pid))
    supervisor = Lock(run_dir / "platform.lock").holder()
    stat = read_stat(supervisor) if supervisor else None
    if stat is not None:
        found["supervisor"] = [pss_kilobytes(each.pid) for each in every_process() if each.session == stat.session]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=0, help="MB")
    limit = parser.parse_args().limit
    found = measure(environment.load().run_dir)
    if not found:
        print("The platform does not run.", file=sys.stderr)
        return 1
    print(f"{'part':12} {'processes':>9} {'PSS MB':>8}")
    for name, sizes in found.items():
        print(f"{name:12} {len(sizes):9} {sum(sizes) / 1024:8.1f}")
    total = sum(map(sum, found.values())) / 1024
    print(f"{'all':12} {sum(map(len, found.values())):9} {total:8.1f}")
    return 1 if limit and total > limit else 0


if __name__ == "__main__":
    sys.exit(main())
