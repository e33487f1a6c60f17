"""Rows as aligned text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime


def columns(rows: Iterable[Sequence[object]], heads: Sequence[str]) -> list[str]:
    """Nothing at all without rows."""
    cells = [[_text(cell) for cell in row] for row in rows]
    if not cells:
        return []
    lines = [list(heads), *cells]
    widths = [max(len(line[n]) for line in lines) for n in range(len(heads))]
    return ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _text(cell: object) -> str:
    if cell is None:
        return ""
    return cell.strftime("%Y-%m-%d %H:%M:%S") if isinstance(cell, datetime) else str(cell)
