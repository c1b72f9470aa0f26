"""docs/reference/metrics.md lists every metric and alert, with what the code and the rules say of it."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from modelservice.adapters.telemetry import KIT, PREFIX
from modelservice.app import METRICS
from modelservice.cli.fuse import METRICS as FUSE
from modelservice.cli.gateway import METRICS as GATEWAY
from modelservice.cli.gateway import PREFIX as GATEWAY_PREFIX
from modelservice.domain.gauges import GAUGES

REPO = Path(__file__).resolve().parents[3]
PAGE = (REPO / "docs/reference/metrics.md").read_text()
ALERTS = yaml.safe_load((REPO / "charts/modelservice/files/alerts.yaml").read_text())


def rows(title: str) -> list[tuple[str, ...]]:
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]


def labels(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "-"


def test_every_gauge_of_the_book_is_listed() -> None:
    assert rows("Budgets") == [(f"`{PREFIX}{g.name}`", "gauge", labels(g.labels), g.help) for g in GAUGES]


def test_every_metric_of_the_work_is_listed() -> None:
    metrics = sorted((*METRICS, *KIT), key=lambda metric: metric.name)
    assert rows("Work") == [(f"`{PREFIX}{m.name}`", m.kind, labels(m.labels), m.help) for m in metrics]


def test_every_metric_of_the_fuse_is_listed() -> None:
    assert rows("Fuse") == [(f"`{PREFIX}{m.name}`", m.kind, labels(m.labels), m.help) for m in FUSE]


def test_every_metric_of_the_gateway_is_listed() -> None:
    assert rows("Gateway") == [(f"`{GATEWAY_PREFIX}{m.name}`", m.kind, labels(m.labels), m.help) for m in GATEWAY]


def test_every_alert_is_listed() -> None:
    rules = [rule for group in ALERTS["groups"] for rule in group["rules"]]
    summaries = [re.sub(r"\{\{ \$labels\.(\w+) \}\}", _stand_in, rule["annotations"]["summary"]) for rule in rules]
    assert rows("Alerts") == [
        (f"`{rule['alert']}`", rule["labels"]["severity"], rule["for"], summary)
        for rule, summary in zip(rules, summaries, strict=True)
    ]


def _stand_in(label: re.Match[str]) -> str:
    return {"policy": "POLICY", "threshold": "THRESHOLD", "modelservice": "SERVICE", "pool": "POOL"}[label[1]]
