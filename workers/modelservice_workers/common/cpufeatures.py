"""What the processor can do, and what number formats need."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from modelservice_workers.common.errors import HardwareError

HIDDEN_VARIABLE: Final = "MODELSERVICE_HIDE_CPU_FEATURES"

# One of these is needed to compute in the format; other formats run on every CPU that PyTorch runs on.
_NEEDED: Final = {
    ("x86_64", "BF16"): ("avx512_bf16", "amx_bf16"),
    ("aarch64", "BF16"): ("bf16",),
}


def read_features(environment: Mapping[str, str], cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Feature names as the kernel writes them, less those that MODELSERVICE_HIDE_CPU_FEATURES lists (by spaces)."""
    found: set[str] = set()
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, values = line.partition(":")
        if key.strip().lower() in ("flags", "features"):
            found.update(values.split())
            break
    return frozenset(found.difference(environment.get(HIDDEN_VARIABLE, "").split()))


def check_dtype(dtype: str, features: frozenset[str], machine: str = platform.machine()) -> None:
    """Raises HardwareError when a CPU with these features cannot compute in `dtype`."""
    needed = _NEEDED.get((machine, dtype), ())
    if needed and features.isdisjoint(needed):
        raise HardwareError(
            f"The model computes in {dtype}, which needs a CPU with {' or '.join(needed)}, and this one has neither "
            "to show; serve another variant of the model or choose nodes that have it."
            if len(needed) > 1
            else f"The model computes in {dtype}, which needs a CPU with {needed[0]}, and this one does not show it; "
            "serve another variant of the model or choose nodes that have it."
        )
