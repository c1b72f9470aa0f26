"""Alerts and dashboard of the chart, evaluated by a real Prometheus over the operator's own metrics."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
import yaml
from aiohttp import web
from modelservice.adapters.prometheus import Prometheus
from modelservice.adapters.telemetry import KIT, PREFIX, Telemetry
from modelservice.app import METRICS
from modelservice.cli.fuse import METRICS as FUSE
from modelservice.controllers.auditor import Auditor
from modelservice.controllers.world import World
from modelservice.domain.book import Book, Enforcement
from modelservice.domain.costs import Denial
from modelservice.domain.gauges import (
    GAUGES,
    Reading,
    read_book,
    read_evidence,
    read_pools,
    read_troubles,
    read_unit_costs,
)
from modelservice.domain.integrity import facts_of, raised, shortfalls
from modelservice.domain.specs import ServiceName
from modelservice.domain.thresholds import Crossing
from modelservice.domain.unitcost import Minute, Tally
from modelservice.domain.utilization import PoolUse
from modelservice.kit.clock import SystemClock
from modelservice.ports import KubeClient

from tests.unit.api.test_chart import CHART, REPO, of_kind, one, render
from tests.unit.domain.costbooks import UNITS, book_of

DASHBOARD = json.loads((CHART / "files/dashboard.json").read_text())
ALERTS = yaml.safe_load((CHART / "files/alerts.yaml").read_text())
RULES = {rule["alert"]: rule for group in ALERTS["groups"] for rule in group["rules"]}
LABELS = {PREFIX + metric.name: set(metric.labels) for metric in (*METRICS, *KIT, *FUSE, *GAUGES)}
BUDGET = "team/monthly"

pytestmark = pytest.mark.timeout(60)


def expressions() -> Iterable[tuple[str, str, str]]:
    """Where each expression is, what it is, and what is written beside its values."""
    for name, rule in RULES.items():
        yield name, rule["expr"], " ".join(rule["annotations"].values())
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["legendFormat"]


def test_every_metric_that_is_used_exists() -> None:
    used = {name for _, expr, _ in expressions() for name in re.findall(rf"{PREFIX}\w+", expr)}
    queried = re.findall(rf"{PREFIX}\w+", json.dumps(DASHBOARD["templating"]))
    assert used | set(queried) <= LABELS.keys()
    assert {f"{PREFIX}{gauge.name}" for gauge in GAUGES if gauge.name.startswith("budget_")} <= used


def test_every_label_that_is_used_is_one_of_the_metrics_beside_it() -> None:
    for where, expr, text in expressions():
        known = set().union(*(LABELS[name] for name in re.findall(rf"{PREFIX}\w+", expr)))
        grouped = {name.strip() for names in re.findall(r"(?:by|on) \(([^)]*)\)", expr) for name in names.split(",")}
        matched = set(re.findall(r"[{,]\s*(\w+)\s*=", expr))
        shown = set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", text))
        assert grouped | matched | shown <= known, where


def test_the_dashboard_is_one_that_grafana_can_import() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {variable["name"] for variable in DASHBOARD["templating"]["list"]} == {"datasource", "policy"}
    assert {panel["datasource"]["uid"] for panel in panels} == {"${datasource}"}
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24, panel["title"]
        assert taken.isdisjoint(cells), panel["title"]
        taken |= cells


def test_rules_and_dashboard_come_only_when_asked_for() -> None:
    default = render()
    assert of_kind(default, "PrometheusRule") == of_kind(default, "ConfigMap") == []
    objects = render(
        "monitoring.rules.enabled=true", "monitoring.dashboard.enabled=true", "monitoring.rules.labels.a=b"
    )
    rule = one(objects, "PrometheusRule", "modelservice")
    assert rule["spec"] == ALERTS
    assert rule["metadata"]["labels"]["a"] == "b"
    board = one(objects, "ConfigMap", "modelservice-dashboard")
    assert json.loads(board["data"]["modelservice.json"]) == DASHBOARD
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"


def shifted(now: int, **changes: Any) -> Book:
    """The book of the tests, its period begun ten days ago."""
    book = book_of()
    account = replace(book.accounts[1], start=now - 10 * 86_400, end=now + 20 * 86_400, **changes)
    placements = {
        name: replace(
            p, hold_through=now, units={uid: replace(unit, start=now - 3600) for uid, unit in p.units.items()}
        )
        for name, p in book.placements.items()
    }
    return replace(book, time=now, accounts=(account,), placements=placements)


@asynccontextmanager
async def prometheus(directory: Path, read: Callable[[], Iterable[Reading]]) -> AsyncIterator[Callable[[str], Any]]:
    """A Prometheus that scrapes these readings ten times a second with the chart's rules; yields what asks it."""
    telemetry = Telemetry(*METRICS, *FUSE)
    telemetry.expose(GAUGES, read)
    telemetry.count("reconcile_total", controller="ModelService", result="success")
    telemetry.set("workqueue_depth", 1, name="keys")
    app = web.Application()

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=telemetry.render(), headers={"Content-Type": "text/plain; version=0.0.4"})

    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    target = "{}:{}".format(*runner.addresses[0])
    config = {
        "global": {"scrape_interval": "100ms", "scrape_timeout": "100ms", "evaluation_interval": "100ms"},
        "rule_files": [str(CHART / "files/alerts.yaml")],
        "scrape_configs": [{"job_name": "operator", "static_configs": [{"targets": [target]}]}],
    }
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
    log = directory / "log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            REPO / "bin/prometheus",
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            "--web.listen-address=127.0.0.1:0",
            stdout=out,
            stderr=out,
        )
    try:
        async with aiohttp.ClientSession(await _address(log)) as session:

            async def ask(query: str) -> list[dict[str, Any]]:
                async with session.get("/api/v1/query", params={"query": query}) as answer:
                    if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
                        return []
                    said = await answer.json()
                assert said["status"] == "success", (query, said)
                result: list[dict[str, Any]] = said["data"]["result"]
                return result

            yield ask
    finally:
        process.terminate()
        await process.wait()
        await runner.cleanup()


def _text(log: Path) -> str:
    return log.read_text()


async def _address(log: Path) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if (found := re.search(r"Listening on.*address=(\S+)", _text(log))) is not None:
            return f"http://{found[1]}"
        await asyncio.sleep(0.05)
    pytest.fail(f"Prometheus did not start: {_text(log)[-2000:]}")


async def until(look: Callable[[], Any], wanted: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + 30
    while True:
        seen = await look()
        if wanted(seen):
            return seen
        assert time.monotonic() < deadline, f"waited 30 s in vain; last seen: {seen}"
        await asyncio.sleep(0.1)


async def shown(ask: Callable[[str], Any], query: str) -> Any:
    """The answer to a query; on a busy machine a scrape may fail, and then there is none until the next one."""
    return await until(lambda: ask(query), bool)


async def test_every_panel_shows_the_books_figures_in_a_real_prometheus(tmp_path: Path) -> None:
    now = int(time.time())
    denial = Denial("team/chat", BUDGET, "Rate", 2, 1, "USD", 1)

    def read() -> Iterable[Reading]:
        crossing = Crossing("half", "50 % of the limit spent", now - 60, reached=now - 60)
        yield from read_book(shifted(now, crossings=(crossing,)), [BUDGET], now, {}, {})
        yield from read_unit_costs(book_of(), {ServiceName("team", "chat"): Tally((Minute(now, 36_000, 1000),))})
        yield from read_pools([PoolUse("a100", "USD", 2, 8 * UNITS, 3 * UNITS)])
        yield from read_troubles([denial], [denial], {"team/chat": 1}, usable=True)

    async with prometheus(tmp_path, read) as ask:
        await until(lambda: ask("count_over_time(modelservice_operator_book_writes_total[1m]) > 3"), bool)
        for where, expr, _ in expressions():
            if where not in RULES:
                query = expr.replace("$policy", BUDGET).replace("$__rate_interval", "1m")
                await shown(ask, query)
        posted = "sum(modelservice_operator_budget_cost) - sum(modelservice_operator_budget_posted)"
        (difference,) = await shown(ask, posted)
        assert abs(float(difference["value"][1])) < 1e-9
        for name in ("ModelServiceBookContended", "ModelServiceFuseDeletes", "ModelServicePodsSpared"):
            assert await ask(RULES[name]["expr"]) == [], name
            await shown(ask, re.sub(r"> \d+$", ">= 0", RULES[name]["expr"]))


async def test_what_a_real_prometheus_has_seen_of_a_lost_book_brings_it_back_to_the_last_micro_unit(
    tmp_path: Path,
) -> None:
    world = World(SystemClock())
    world.caches.namespaces.observe({"metadata": {"name": "kube-system", "uid": "u", "resourceVersion": "1"}})
    book = shifted(int(time.time()))
    earlier = replace(book, time=book.time - 900)
    exported = earlier

    def read() -> Iterable[Reading]:
        yield from read_evidence(exported, world.ledger("sys"))
        yield from read_evidence(replace(book, time=book.time + 900), "v/sys")  # the book of another cluster

    async with prometheus(tmp_path, read) as ask:
        seen = f'modelservice_operator_ledger_timestamp_seconds{{ledger="u/sys"}} == {earlier.time}'
        await shown(ask, seen)
        exported = book
        await shown(ask, seen.replace(str(earlier.time), str(book.time)))
        metrics = Prometheus(await _address(tmp_path / "log"))
        try:
            told = await Auditor(world, cast("KubeClient", None), metrics, "sys").ask()
        finally:
            await metrics.close()
    assert told == tuple(replace(fact, source="a series in Prometheus") for fact in facts_of(book))
    lost = Book(book.time)
    (account,) = raised(lost, shortfalls(told, lost, lost, {}, book.time, lost=True)).accounts
    assert account.closed == book.gross(book.accounts[0]) > earlier.gross(earlier.accounts[0])


CASES: tuple[tuple[str, dict[str, Any], int, int, set[str]], ...] = (
    ("a limit that will not last", {"base": 100 * UNITS}, 0, 0, {"ModelServiceBudgetEndsEarly"}),
    ("a limit that lasts", {"base": 10_000 * UNITS}, 0, 0, set()),
    (
        "a limit that was lowered, and a pod that ran without a hold",
        {"base": 30 * UNITS},
        2,
        1,
        {
            "ModelServiceBudgetNearlySpent",
            "ModelServiceBudgetEndsEarly",
            "ModelServiceBudgetAboveLimit",
            "ModelServiceBudgetRefusesPods",
            "ModelServicePodsUnheld",
            "ModelServiceBookUnusable",
        },
    ),
    (
        "a limit that only counts and is passed",
        {"base": 30 * UNITS, "enforcement": Enforcement.SOFT},
        0,
        0,
        {"ModelServiceBudgetNearlySpent", "ModelServiceBudgetEndsEarly"},
    ),
    ("all well again", {"base": 10_000 * UNITS}, 0, 0, set()),
)


async def test_the_alerts_that_fit_the_book_are_pending_and_no_others(tmp_path: Path) -> None:
    now = int(time.time())
    case = CASES[0]

    def read() -> Iterable[Reading]:
        _, changes, denials, unheld, _ = case
        denied = [Denial("team/chat", BUDGET, "Limit", 2, 1, "USD", denials)] if denials else []
        yield from read_book(shifted(now, **changes), [BUDGET], now, {}, {})
        yield from read_troubles(denied, [], {"team/chat": unheld}, usable=not unheld)

    async with prometheus(tmp_path, read) as ask:

        async def pending() -> set[str]:
            return {found["metric"]["alertname"] for found in await ask("ALERTS")}

        for case in CASES:
            expected = {*case[4], "ModelServiceOperatorAbsent"}  # nobody leads here
            await until(pending, expected.__eq__)
