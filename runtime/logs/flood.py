"""How much one origin may say. Counted by the lines' own clock, so that catching up after a pause is no flood."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

LINES_A_SECOND = 1000
BURST = 10_000
BYTES_A_LINE = 1024  # a longer line counts as several


@dataclass(slots=True)
class Allowance:
    """A bucket of lines that fills at a steady rate."""

    rate: float = LINES_A_SECOND
    burst: float = BURST
    _level: float = -1.0
    _at: float = 0.0

    def take(self, at: datetime, size: int) -> bool:
        """False: this line is too much."""
        now = at.timestamp()
        if self._level < 0:
            self._level = self.burst
        elif now > self._at:
            self._level = min(self.burst, self._level + (now - self._at) * self.rate)
        self._at = max(self._at, now)
        cost = 1 + size // BYTES_A_LINE
        if self._level < cost:
            return False
        self._level -= cost
        return True

    def rested(self) -> None:
        """Nothing was read for about a second: what lies there now may all be of one moment."""
        self._level = max(self._level, self.rate)
