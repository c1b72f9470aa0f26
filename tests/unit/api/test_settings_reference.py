"""docs/reference/settings.md lists every value of the chart and every variable of operator and gateway."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from modelservice.settings import PREFIX, GatewaySettings, Settings

REPO = Path(__file__).resolve().parents[3]
ROW = re.compile(r"^\| `([\w.]+)` \| (.*?) \| .*\. \|$")

RESOURCES = ("resources", "fuse.resources", "gateway.resources")


def rows(title: str) -> dict[str, str]:
    page = (REPO / "docs/reference/settings.md").read_text()
    section = page.partition(f"## {title}\n")[2].partition("\n## ")[0]
    found = [ROW.match(line) for line in section.splitlines() if line.startswith("| `")]
    assert all(found)
    return {row[1]: row[2].strip(" `") for row in found if row}


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value and path not in RESOURCES:
        for name, child in value.items():
            yield from leaves(child, f"{path}.{name}" if path else name)
    else:
        yield path, value


def text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(text, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_every_value_of_the_chart_is_listed_with_its_default() -> None:
    values = dict(leaves(yaml.safe_load((REPO / "charts/modelservice/values.yaml").read_text())))
    listed = rows("Values of the Helm chart")
    assert listed.keys() == values.keys()
    assert {n: v for n, v in listed.items() if n not in RESOURCES} == {
        n: text(v) for n, v in values.items() if n not in RESOURCES
    }


def test_every_variable_of_the_operator_is_listed_with_its_default() -> None:
    listed = rows("Environment of the operator")
    defaults = {PREFIX + name.upper(): text(field.default) for name, field in Settings.model_fields.items()}
    listed.pop(f"{PREFIX}IDENTITY")
    defaults.pop(f"{PREFIX}IDENTITY")
    assert listed == defaults


def test_every_variable_of_the_gateway_is_listed_with_its_default() -> None:
    defaults = {PREFIX + name.upper(): text(field.default) for name, field in GatewaySettings.model_fields.items()}
    assert rows("Environment of the gateway") == defaults
