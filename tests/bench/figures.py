"""How every bench prints what it has measured: one JSON object a line."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path


def describe_machine() -> str:
    """The processor and the number of CPUs this process may use."""
    names = [line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return f"{names[0] if names else platform.machine()}, {len(os.sched_getaffinity(0))} CPUs"


def report(figure: str, value: float, unit: str, peer: tuple[str, float], *, count: int, seed: int) -> None:
    """Print one figure of `count` samples, with its ratio to the peer or limit, which has the same unit."""
    name, other = peer
    document = {
        "figure": figure,
        "value": round(value, 3),
        "unit": unit,
        "peer_or_limit": f"{name}: {other:.3f} {unit}",
        "ratio": round(value / other, 3),
        "n": count,
        "seed": seed,
        "machine": describe_machine(),
    }
    print(json.dumps(document), flush=True)
