"""The logs of apps: `collecting.py` fills the store (in the agent, without Django), `selectors.py` reads it."""
