"""The metrics.json that a training script may leave: names and numbers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

METRICS_NAME: Final = "metrics.json"

_LIMIT_BYTES: Final = 1 << 16
_NAME_LIMIT: Final = 63
_DECIMAL: Final = re.compile(r"(?=.{1,40}$)[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class ReportedMetrics:
    """Metrics as decimal strings, and a sentence about what could not be taken, or an empty one."""

    values: Mapping[str, str]
    complaint: str = ""


def read_metrics(directory: Path) -> ReportedMetrics:
    """Read metrics.json; what is wrong in it never fails a run, it is left out and told."""
    path = directory / METRICS_NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return ReportedMetrics({})
    try:
        document = json.loads(content, parse_float=str, parse_int=str) if len(content) <= _LIMIT_BYTES else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        return ReportedMetrics({}, f"{METRICS_NAME} was left out: it is no JSON object of names and numbers.")
    values = {name: text for name, value in document.items() if (text := _decimal_text(name, value)) is not None}
    refused = sorted(document.keys() - values.keys())
    if not refused:
        return ReportedMetrics(values)
    return ReportedMetrics(values, f"Metric {refused[0][:_NAME_LIMIT]} was left out: it is no finite decimal number.")


def _decimal_text(name: str, value: object) -> str | None:
    if not isinstance(value, str) or not 0 < len(name) <= _NAME_LIMIT or not _DECIMAL.fullmatch(value):
        return None
    return value if math.isfinite(float(value)) else None
