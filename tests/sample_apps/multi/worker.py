"""A worker: counts in its log until it is asked to stop."""

import itertools
import os
import signal
import threading

VERSION = "1"

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())

name = os.environ.get("DYNO") or os.environ.get("HOSTNAME", "worker")
for n in itertools.count(1):
    print(f"worker: version {VERSION} tick {n} of {name}", flush=True)
    if stop.wait(1.0):
        break
print("worker: stopped on request", flush=True)
