"""A migration that does not work out."""

import sys

print("column shop.price already exists", file=sys.stderr, flush=True)
sys.exit(1)
