"""Tables of text whose columns stand below each other."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

WIDTH = 100
LEAST = 24
GAP = "  "


def align(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Lines of a table; `sides` has l or r for each column."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(sides))]
    lines = []
    for row in rows:
        cells = zip(row, widths, sides, strict=True)
        padded = (cell.ljust(width) if side == "l" else cell.rjust(width) for cell, width, side in cells)
        lines.append(GAP.join(padded).rstrip())
    return lines


def align_wrapped(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """The same, with the last column, of sentences, wrapped so that the table fits."""
    before = sum(max(len(row[column]) for row in rows) + len(GAP) for column in range(len(sides) - 1))
    room = max(LEAST, WIDTH - before)
    spread: list[Sequence[str]] = []
    for *cells, text in rows:
        first, *others = wrap(text, room, break_on_hyphens=False) or [""]
        spread.append((*cells, first))
        spread += [(*[""] * len(cells), other) for other in others]
    return align(spread, sides)
