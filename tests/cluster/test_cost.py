"""`modelservice cost` and the operator's gauges against a real API server: the stored book, exactly."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import yaml
from cluster import Cluster
from modelservice.adapters.kube import Kube
from modelservice.domain.codec import encode, encode_page, page_name
from modelservice.domain.gauges import GAUGES, LEDGER_RATE, LEDGER_SPENT, Gauge
from modelservice.domain.money import parse_amount
from modelservice.domain.times import parse_instant
from modelservice.kit.errors import Conflict, NotFound
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.conftest import FakeNodes, Runs, manifest, until
from tests.cluster.plane import REPO
from tests.cluster.scenes import OURS, Scene, policy, staged
from tests.unit.domain.costbooks import book_of, page_of


@pytest.fixture
async def ledgers(kube: Kube, namespace: str) -> str:
    """A namespace with a book of one policy in July 2026, whose June is on a page."""
    page = page_of(namespace)
    objects = {
        "open": {"book": encode(book_of(namespace))},
        page_name(page): {"page": encode_page(book_of(namespace), page)},
    }
    for name, content in objects.items():
        await kube.create(manifest(OURS, "BudgetLedger", name, namespace, **content), manager="tests")
    return namespace


async def run(*words: str) -> tuple[int, str, str]:
    program = [sys.executable, "-m", "modelservice.cli.main", "cost", *words]
    process = await asyncio.create_subprocess_exec(
        *program,
        cwd=REPO / "operator",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_the_pages_are_read_from_the_api_and_every_figure_is_a_string(cluster: Cluster, ledgers: str) -> None:
    options = (f"--kubeconfig={cluster.kubeconfig}", f"--system-namespace={ledgers}", "-n", ledgers)
    status, out, err = await run(*options, "--policy=monthly", "--period=all", "--by=pool", "-o", "json")
    assert (status, err) == (0, "")
    june, july = json.loads(out)["statements"]
    assert (june["phase"], june["spent"], june["held"]) == ("Sealed", "9.75", "0.00")
    assert june["rows"] == [{"pool": "a100", "spent": "9.75", "held": "0.00"}]
    assert sum(parse_amount(row["spent"]) for row in july["rows"]) == parse_amount(july["spent"])
    assert {type(july[name]) for name in ("limit", "spent", "held", "available", "ratePerHour")} == {str}


async def test_a_month_is_found_by_its_name_in_every_format(cluster: Cluster, ledgers: str, tmp_path: Path) -> None:
    options = (f"--kubeconfig={cluster.kubeconfig}", f"--system-namespace={ledgers}", "-n", ledgers, "--period=2026-06")
    status, table, _ = await run(*options)
    assert status == 0
    assert "TOTAL" in table
    assert "9.75" in table
    status, text, _ = await run(*options, "-o", "csv")
    assert text.splitlines()[1:] == [
        f"{ledgers}/monthly,2026-06-01T00:00:00Z,2026-07-01T00:00:00Z,Sealed,USD,{ledgers}/chat,9.75,0.00,,,"
    ]
    status, said, _ = await run(*options, "--html", str(tmp_path / "cost.html"))
    assert said == f"Wrote {tmp_path / 'cost.html'}.\n"
    written = (tmp_path / "cost.html").read_text()
    assert "9.75" in written
    status, said, _ = await run(*options, "--html", "-")
    assert said.startswith("<!DOCTYPE html>")
    status, _, said = await run(*options, "--html", str(tmp_path / "none" / "cost.html"))
    assert status == 1
    assert (
        said
        == f"{tmp_path / 'none' / 'cost.html'} cannot be written (No such file or directory): choose another file.\n"
    )


async def test_what_cannot_be_reported_ends_with_one_sentence_that_says_what_to_do(
    cluster: Cluster, kube: Kube, namespace: str, tmp_path: Path
) -> None:
    options = (f"--kubeconfig={cluster.kubeconfig}", f"--system-namespace={namespace}")
    status, out, err = await run(*options)
    assert (status, out) == (1, "")
    assert err == (
        f"There is no book in namespace {namespace}: name the operator's namespace by --system-namespace, or start the "
        "operator.\n"
    )
    status, _, err = await run(*options, "--period=soon")
    assert status == 2
    assert err.startswith("'soon' is not a period: write current, previous, all, a month")
    status, _, err = await run(f"--kubeconfig={tmp_path / 'none'}")
    assert status == 1
    assert err.startswith("No way to log in to Kubernetes through ")
    damaged = encode(book_of(namespace))
    damaged["accounts"][0]["posted"] += 1
    await kube.create(manifest(OURS, "BudgetLedger", "open", namespace, book=damaged), manager="tests")
    status, _, err = await run(*options)
    assert status == 1
    assert err.startswith(f"The book in namespace {namespace} must be repaired first: the budget ledger contradicts")
    assert len(err.splitlines()) == 1


async def test_the_rights_of_a_cost_reader_are_enough_and_nobody_else_reads_the_book(
    cluster: Cluster, ledgers: str, tmp_path: Path
) -> None:
    reader = f"{{kind: ServiceAccount, name: default, namespace: {ledgers}}}"
    values = tmp_path / "values.yaml"
    values.write_text(f"rbac: {{costReaders: [{reader}]}}\n")
    chart = (str(REPO / "charts/modelservice"), "-n", ledgers, "-f", str(values), "--kube-version", "1.36.3")
    rendered = cluster.helm("template", ledgers, *chart, "-s", "templates/rbac/costs.yaml")
    token = cluster.kubectl("create", "token", "default", "-n", ledgers).strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    options = (f"--kubeconfig={kubeconfig}", f"--system-namespace={ledgers}", "--period=2026-06")
    status, _, err = await run(*options)
    assert status == 1
    assert f"ask for the Role modelservice-costs in namespace {ledgers}" in err
    assert len(err.splitlines()) == 1
    cluster.kubectl("apply", "-f", "-", stdin=rendered)
    try:
        status, out, err = await run(*options)
        assert (status, err) == (0, "")
        assert f"{ledgers}/monthly" in out
    finally:
        cluster.kubectl("delete", "-f", "-", stdin=rendered)


@pytest.fixture
async def scene(
    cluster: Cluster, kube: Kube, namespace: str, nodes: FakeNodes, operators: Runs
) -> AsyncIterator[Scene]:
    """A pod of 1 cpu costs 1.00 USD an hour."""
    async with staged(Scene(cluster, kube, namespace, nodes, operators), nodes=3) as made:
        yield made


class Scraped:
    """One scrape: the values of the operator's series."""

    def __init__(self, text: str) -> None:
        self.samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def all(self, name: str, **labels: str) -> list[float]:
        """Values of the series that have these labels."""
        return [
            sample.value
            for sample in self.samples
            if sample.name == f"modelservice_operator_{name}" and labels.items() <= sample.labels.items()
        ]


async def scrape(port: int) -> Scraped:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        return Scraped(await answer.text())


async def test_the_gauges_are_those_of_the_stored_book_and_vanish_with_the_objects(scene: Scene) -> None:
    # One pod holds 1.041667 USD when it is admitted: two fit into the limit, the third is refused.
    await scene.create(policy("team", scene.namespace, limit="2.50"))
    operator = await scene.operate()
    await scene.create(scene.service("chat", inference={"minReplicas": 3}))
    await scene.ready("chat", 2)
    name, who = f"{scene.namespace}/team", f"{scene.namespace}/chat"

    async def settled() -> Scraped | None:
        book, seen = await scene.book(), await scrape(operator.port)
        account = book.account_at(name, book.time)
        same = account is not None and seen.all("budget_worst", policy=name) == [book.worst(account) / 1_000_000]
        return seen if same and seen.all("budget_refused_pods") == [1] else None

    seen = await until("the gauges to show the stored book", settled) or Scraped("")
    assert seen.all("budget_limit", policy=name, currency="USD") == [2.5]
    assert seen.all("budget_rate", policy=name) == [2]
    words = ("posted", "held", "worst", "committed")
    (posted,), (held,), (worst,), (committed,) = (seen.all(f"budget_{word}", policy=name) for word in words)
    assert posted + held == pytest.approx(worst, abs=1e-9)
    assert seen.all("budget_available", policy=name) == [pytest.approx(2.5 - posted - committed, abs=1e-9)]
    assert 2.499 < worst <= 2.5, "what the third pod could not have is lent to the two that run"
    assert sum(seen.all("budget_cost", modelservice=who, role="Inference")) == pytest.approx(posted, abs=1e-9)
    assert seen.all("budget_refused_pods", policy=name, modelservice=who, blocked_by="Limit") == [1]
    assert seen.all("budget_unheld_pods", modelservice=who) == [0]
    assert (seen.all("book_units"), seen.all("book_usable")) == ([2], [1])
    foreseen = (await scene.get("BudgetPolicy", "team"))["status"]["forecast"]
    assert (foreseen["p50"], foreseen["p90"], foreseen["basis"]) == ("2.50", "2.50", "CurrentRate")
    assert parse_instant(foreseen["exhaustsAt"]) - int(time.time()) <= 2.5 / 3 * 3600  # as if all three ran
    assert seen.all("budget_forecast_p90", policy=name, currency="USD") == [2.5]
    (pool,) = {placement.terms.pool for placement in (await scene.book()).placements.values()}

    async def charged() -> bool:
        return (await scrape(operator.port)).all("pool_charged_rate", pool=pool) == [2]

    # Three nodes at 4.00 USD an hour, and two pods that take a quarter of one each.
    await until("both pods to be charged", charged)
    assert seen.all("pool_nodes_rate", pool=pool) == [12]

    async def remembered() -> list[str] | None:
        try:
            return [row["policy"] for row in (await scene.get("BudgetLedger", "history"))["history"]]
        except NotFound:
            return None

    assert await until("its hourly costs to be kept", remembered) == [name]
    system = (f"--kubeconfig={scene.cluster.kubeconfig}", f"--system-namespace={scene.namespace}")
    _, out, _ = await run(*system, "-n", scene.namespace, "-o", "json")
    document = json.loads(out)
    told = document["statements"][0]["forecast"]
    assert (told["p50"], told["p90"], told["basis"]) == ("2.50", "2.50", "CurrentRate")
    assert document["pools"] == [
        {
            "pool": pool,
            "currency": "USD",
            "readyNodes": 3,
            "nodesPerHour": "12.00",
            "chargedPerHour": "2.00",
            "notCharged": "83.3%",
        }
    ]

    for kind, short in (("ModelService", "chat"), ("BudgetPolicy", "team")):
        uid = (await scene.get(kind, short))["metadata"]["uid"]
        await scene.kube.delete(kind, scene.namespace, short, uid=uid)

    async def gone() -> bool:
        seen = await scrape(operator.port)
        shown = [gauge for gauge in GAUGES if gauge not in (LEDGER_SPENT, LEDGER_RATE)]
        return not any(seen.all(gauge.name, **label) for gauge in shown for label in labels(gauge))

    def labels(gauge: Gauge) -> list[dict[str, str]]:
        whole = {"policy": name, "modelservice": who}
        return [{key: whole[key]} for key in gauge.labels if key in whole]

    await until("the series of the objects to vanish", gone)
    assert (await scrape(operator.port)).all("ledger_spent", policy=name) >= [posted]


async def test_a_budget_of_the_cluster_on_trial_shows_what_it_would_refuse(scene: Scene) -> None:
    spec = {
        "currency": "USD",
        "limit": "100.00",
        "maxRatePerHour": "1.50",
        "period": {"calendar": "Day", "timeZone": "UTC"},
        "enforcement": "DryRun",
        "scope": {"namespaces": [scene.namespace]},
    }
    name, who = f"{scene.namespace}-trial", f"{scene.namespace}/chat"
    await scene.create(manifest(OURS, "ClusterBudgetPolicy", name, spec=spec))
    operator = await scene.operate()
    await scene.create(scene.service("chat", inference={"minReplicas": 2}))
    await scene.ready("chat", 2)

    async def shown() -> bool:
        seen = await scrape(operator.port)
        would = seen.all("budget_would_refuse_pods", policy=name, modelservice=who, blocked_by="Rate")
        return (would, seen.all("budget_rate", policy=name)) == ([1], [2])

    await until("the trial to be shown", shown)
    seen = await scrape(operator.port)
    assert seen.all("budget_limit", policy=name, enforcement="DryRun") == [100]
    assert seen.all("budget_refused_pods") == []


async def test_passes_that_met_another_writer_of_the_book_are_counted(scene: Scene) -> None:
    await scene.create(policy("team", scene.namespace))
    operator = await scene.operate()

    async def quarrel() -> None:
        for number in itertools.count():
            with contextlib.suppress(Conflict, NotFound):
                book = await scene.get("BudgetLedger", "open")
                book["metadata"]["annotations"] = {"written": str(number)}
                await scene.kube.replace(book, manager="somebody")

    async def counted() -> bool:
        return sum((await scrape(operator.port)).all("book_conflicts_total")) > 0

    other = asyncio.create_task(quarrel())
    try:
        await scene.create(scene.service("chat", inference={"minReplicas": 3}))
        await until("a conflict to be counted", counted)
    finally:
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
    await scene.ready("chat", 3)
