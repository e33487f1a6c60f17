"""Prints a config var while it boots, as careless programs do, and ends."""

import os
import sys

print("connecting with " + os.environ.get("SECRET_CANARY", "nothing"), flush=True)
sys.exit(1)
