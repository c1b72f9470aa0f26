"""How often the forecast from history holds: costs of recorded and made-up loads, each period foreseen again and again.

    .venv-workers/bin/python tests/bench/forecast.py

Prints a JSON object a line: the share of forecasts whose p90, or p50, was not passed in the end (0.9 and 0.5 are
meant), and the median of p90 over what the rest of the period did cost. A forecast knows only what lies before it, four
weeks at most. With the environment variable MODELSERVICE_TRACES (a directory with jobs_alibaba_gpu2023.csv.gz) the GPU
hours of that trace are one of the loads.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[2] / "operator"))

from modelservice.domain.history import LEAST_HOURS, MOST_HOURS, outlook

PERIODS = {"day": 24, "three days": 72, "week": 168}
TRACE_DAYS = range(110, 138)
"""The days of the trace in which jobs were submitted regularly."""
STRIDE = 5
SEED = 7


def made_up(seed: int) -> Iterator[tuple[str, list[int]]]:
    """Six weeks of hourly costs in micro-units: office hours, a level that wanders, and runs that come by chance."""
    random, hours = Random(seed), range(6 * 168)
    office = [
        4_000_000 + round(6_000_000 * max(0.0, math.sin((hour % 24 - 6) * math.pi / 14)) * (hour // 24 % 7 < 5))
        for hour in hours
    ]
    yield "office hours", [round(cost * random.uniform(0.8, 1.2)) for cost in office]
    level, wandering = 10_000_000.0, []
    for _ in hours:
        level *= math.exp(random.gauss(0, 0.02))
        wandering.append(round(level))
    yield "wandering level", wandering
    runs = [0] * len(hours)
    for begin in hours:
        if random.random() < 1 / 30:
            for hour in range(begin, min(len(hours), begin + random.randrange(4, 40))):
                runs[hour] += 8_000_000
    yield "training runs", [2_000_000 + cost for cost in runs]


def recorded(directory: Path) -> Iterator[tuple[str, list[int]]]:
    """GPU hours of the jobs that were submitted to a cluster, at 1.00 an hour."""
    path = directory / "jobs_alibaba_gpu2023.csv.gz"
    if not path.exists():
        return
    first, last = TRACE_DAYS.start * 24, TRACE_DAYS.stop * 24
    hours = [0.0] * (last - first)
    with gzip.open(path, "rt") as lines:
        for row in csv.DictReader(lines):
            begin = float(row["submit_s"]) / 3600
            end = begin + float(row["duration_s"] or 0) / 3600
            gpus = float(row["num_gpu"]) * float(row["gpu_milli"] or 1000) / 1000
            for hour in range(max(first, int(begin)), min(last, math.ceil(end))):
                hours[hour - first] += gpus * (min(end, hour + 1) - max(begin, hour))
    yield "jobs of a GPU cluster (Alibaba 2023)", [round(each * 1_000_000) for each in hours]


def backtest(costs: list[int], length: int) -> Mapping[str, float]:
    """Foresee the rest of each period of so many hours from every fifth hour on."""
    likely, cautious, over = [], [], []
    for now in range(LEAST_HOURS, len(costs), STRIDE):
        end = (now // length + 1) * length
        seen = outlook(costs[max(0, now - MOST_HOURS) : now], (end - now) * 3600)
        if end > len(costs) or seen is None:
            continue
        actual = sum(costs[now:end])
        likely.append(actual <= seen[0])
        cautious.append(actual <= seen[1])
        over.append(seen[1] / max(1, actual))
    return {
        "n": len(over),
        "p50": statistics.mean(likely),
        "p90": statistics.mean(cautious),
        "over": statistics.median(over),
    }


def main() -> None:
    """Print the figures."""
    loads = list(made_up(SEED))
    if directory := os.environ.get("MODELSERVICE_TRACES"):
        loads += recorded(Path(directory))
    meant = {"p90": ("share of forecasts whose p90 held", 0.9), "p50": ("share of forecasts whose p50 held", 0.5)}
    meant["over"] = ("p90 over what came, median", 1.0)
    for load, costs in loads:
        for period, length in PERIODS.items():
            found = backtest(costs, length)
            for name, (figure, limit) in meant.items():
                row = {
                    "figure": f"{figure}: {load}, {period}",
                    "value": round(found[name], 3),
                    "unit": "ratio",
                    "peer_or_limit": limit,
                    "ratio": round(found[name] / limit, 3),
                    "n": found["n"],
                    "seed": SEED,
                    "machine": platform.machine(),
                }
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
