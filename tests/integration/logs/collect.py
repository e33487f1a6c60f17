"""`python -m tests.integration.logs.collect FOLDER HOME`: a collector in a process of its own, to be killed."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from runtime.engine.docker import DockerEngine
from runtime.logs.collector import Collector
from runtime.logs.store import Limits, LogStore


def main(folder: str, home: str) -> None:
    collector = Collector(DockerEngine(), LogStore(Path(folder), Limits(segment_bytes=4000)), home=home)
    collector.start()
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
