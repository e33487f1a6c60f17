"""Runs happily and never listens."""

import signal
import sys
import time

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("busy with something else than listening", flush=True)
while True:
    time.sleep(60)
