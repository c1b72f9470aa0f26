"""Memory of a process, and how it grows: by the median of all slopes, which a few jumps of an allocator do not move."""

from __future__ import annotations

import ctypes
import gc
import statistics
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path


def resident_bytes(pid: int | str) -> int:
    """Memory of a process that is its own and not a file's."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def own_bytes() -> int:
    """The same for this process, without what only waits to be given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return resident_bytes("self")


def growth(samples: Sequence[int], steps: int) -> float:
    """Bytes for each of the `steps` between two samples that follow each other (Theil and Sen's estimate)."""
    slopes = [
        (later - earlier) / (last - first) for (first, earlier), (last, later) in combinations(enumerate(samples), 2)
    ]
    return statistics.median(slopes) / steps
