"""How many CPUs this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from modelservice_workers.common.errors import SettingsError

LIMIT_VARIABLE: Final = "MODELSERVICE_CPU_LIMIT"


def count_threads(
    environment: Mapping[str, str],
    cgroup_root: Path = Path("/sys/fs/cgroup"),
    membership: Path = Path("/proc/self/cgroup"),
) -> int:
    """Threads for computing: OMP_NUM_THREADS, else the CPU limit rounded up, else the CPUs of the affinity mask.

    The limit is MODELSERVICE_CPU_LIMIT (CPUs, "2" or "0.5") or the quota of the control group.
    Raises SettingsError when a variable holds no positive number.
    """
    chosen = environment.get("OMP_NUM_THREADS")
    if chosen:
        return math.ceil(_parse_positive("OMP_NUM_THREADS", chosen))
    available = len(os.sched_getaffinity(0))
    declared = environment.get(LIMIT_VARIABLE)
    limit = _parse_positive(LIMIT_VARIABLE, declared) if declared else _read_quota(cgroup_root, membership)
    return available if limit is None else max(1, min(available, math.ceil(limit)))


def _parse_positive(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise SettingsError(f"{name} is {text!r}; set it to a positive number of CPUs or leave it out.")
    return value


def _read_quota(root: Path, membership: Path) -> float | None:
    quotas = [quota for group in _own_groups(root, membership) if (quota := _read_group(group)) is not None]
    return min(quotas, default=None)


def _own_groups(root: Path, membership: Path) -> list[Path]:
    groups = [root, root / "cpu"]
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return groups
    for line in lines:
        hierarchy, _, path = line.partition("::")
        if hierarchy == "0":
            own = root / path.lstrip("/")
            groups += [folder for folder in (own, *own.parents) if folder.is_relative_to(root)]
    return groups


def _read_group(group: Path) -> float | None:
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text().strip()
    except (OSError, ValueError):
        return None
    if quota in ("max", "-1"):
        return None
    return int(quota) / int(period)
