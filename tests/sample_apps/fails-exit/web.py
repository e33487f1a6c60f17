"""Ends at once."""

import sys

print("DATABASE_URL is missing: I can't work like this", file=sys.stderr, flush=True)
sys.exit(3)
