"""docs/reference/conditions.md lists every reason that the operator gives, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from modelservice.domain.budgets import BUDGET_REASONS, SOFT_LIMIT_REASONS
from modelservice.domain.conditions import REASONS
from modelservice.domain.pools import POOL_REASONS, PRICE_REASONS

PAGE = Path(__file__).resolve().parents[3] / "docs/reference/conditions.md"
ROW = re.compile(r"^\| (\w+) \| (True|False|Unknown) \| ([A-Z`].*[.]) \|$")


def written() -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    kind = condition = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            kind = line.removeprefix("## ")
        elif line.startswith("### "):
            condition = line.removeprefix("### ")
            found[kind, condition] = []
        elif line.startswith("| ") and not line.startswith("| reason "):
            row = ROW.match(line)
            assert row, f"{line!r} is not reason, status and a sentence"
            found[kind, condition].append(row[1])
    return found


def test_every_reason_of_every_condition_is_explained_once() -> None:
    expected = {("ModelService", condition): sorted(reasons) for condition, reasons in REASONS.items()}
    expected["BudgetPolicy and ClusterBudgetPolicy", "Ready"] = sorted(BUDGET_REASONS)
    expected["BudgetPolicy and ClusterBudgetPolicy", "WithinSoftLimit"] = sorted(SOFT_LIMIT_REASONS)
    expected["ComputePool", "Ready"] = sorted(POOL_REASONS)
    expected["ComputePool", "Priced"] = sorted(PRICE_REASONS)
    assert {key: sorted(reasons) for key, reasons in written().items()} == expected
