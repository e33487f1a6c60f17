"""Names for apps whose maker has none in mind: `quiet-meadow-4821`."""

from __future__ import annotations

import secrets

ADJECTIVES = (
    "amber", "brisk", "calm", "clear", "cosy", "crisp", "early", "fair", "fresh", "gentle", "golden", "kind", "lively",
    "mellow", "mild", "neat", "nimble", "plain", "quick", "quiet", "rapid", "sharp", "silver", "smooth", "soft", "solid",
    "steady", "still", "sunny", "swift", "tidy", "warm",
)  # fmt: skip
NOUNS = (
    "bay", "beach", "bridge", "brook", "canyon", "cliff", "cloud", "coast", "creek", "dune", "field", "fjord", "forest",
    "garden", "grove", "harbour", "hill", "island", "lake", "marsh", "meadow", "moor", "orchard", "peak", "pond", "reef",
    "ridge", "river", "shore", "stream", "summit", "valley",
)  # fmt: skip


def made_up_name() -> str:
    return f"{secrets.choice(ADJECTIVES)}-{secrets.choice(NOUNS)}-{secrets.randbelow(9000) + 1000}"
