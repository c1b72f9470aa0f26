"""Money before pods: exact refusals, nobody starts more than is funded, and every stored book is solvent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import pytest
from cluster import Cluster
from modelservice.adapters.kube import Kube
from modelservice.domain.book import Account, Book, Line
from modelservice.domain.codec import decode, encode
from modelservice.domain.limits import CarryOver, Unused
from modelservice.domain.money import parse_amount
from modelservice.domain.times import format_time, parse_time

from tests.cluster.conftest import FakeNodes, Runs, manifest, until
from tests.cluster.scenes import OURS, Scene, Versions, cluster_policy, conditions, policy, staged

GATE = "modelservice.dev/budget"


@pytest.fixture
async def scene(
    cluster: Cluster, kube: Kube, namespace: str, nodes: FakeNodes, operators: Runs
) -> AsyncIterator[Scene]:
    """A pod of 1 cpu costs 1.00 USD an hour."""
    async with staged(Scene(cluster, kube, namespace, nodes, operators), nodes=3) as made:
        yield made


@pytest.fixture
async def books(scene: Scene) -> AsyncIterator[Versions]:
    watched = await Versions(scene, "BudgetLedger").start()
    yield watched
    stored = [decode(version["book"]) for version in await watched.stop() if "book" in version]
    assert stored, "no book was ever stored"
    assert [book for book in stored if book.insolvent()] == []


async def ungated(pods: Versions) -> set[str]:
    """Every pod that was ever seen without the gate."""
    return {pod["metadata"]["uid"] for pod in await pods.stop() if not pod["spec"].get("schedulingGates")}


async def refusal(scene: Scene, service: str) -> dict[str, Any]:
    async def seen() -> dict[str, Any] | None:
        found: dict[str, Any] | None = (await scene.get("ModelService", service)).get("status", {}).get("refusal")
        return found

    return await until(f"a refusal of {service}", seen) or {}


async def test_the_rate_of_a_budget_refuses_the_third_pod_with_need_and_have(scene: Scene, books: Versions) -> None:
    await scene.create(policy("team", scene.namespace, rate="2.50"))
    await scene.operate()
    await scene.create(scene.service("chat", inference={"minReplicas": 3}))
    assert await refusal(scene, "chat") == {
        "policy": f"{scene.namespace}/team",
        "blockedBy": "Rate",
        "need": "1.00",
        "have": "0.50",
        "currency": "USD",
        "replicas": 1,
        "fitsNow": {"replicas": 2},
    }
    message = await scene.condition("chat", "BudgetAdmitted", "False", "RateLimited")
    assert "1.00 USD" in message
    assert "0.50 USD" in message
    assert "2 replicas can be paid for now; no time is known" in message
    served = await scene.ready("chat", 2)
    assert served["status"]["desiredReplicas"] == 3
    assert served["status"]["fundedReplicas"] == 2
    (child,) = await scene.deployments("chat")
    assert child["spec"]["replicas"] == 2
    assert len(await scene.pods("chat")) == 2


async def test_a_budget_of_the_cluster_refuses_beside_that_of_the_namespace(scene: Scene, books: Versions) -> None:
    name = f"{scene.namespace}-all"
    labelled = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": scene.namespace}}}
    await scene.create(policy("team", scene.namespace, rate="5"))
    await scene.create(cluster_policy(name, rate="1.50", namespaces=[scene.namespace], **labelled))
    await scene.create(cluster_policy(f"{name}-others", rate="0.50", namespaces=["nobody-here"]))
    await scene.create(cluster_policy(f"{name}-training", rate="0.50", roles=["Training"], **labelled))
    await scene.operate()
    await scene.create(scene.service("chat", inference={"minReplicas": 2}))
    assert (await refusal(scene, "chat"))["policy"] == name
    await scene.ready("chat", 1)

    async def reported() -> dict[str, Any] | None:
        found: dict[str, Any] = (await scene.kube.get("ClusterBudgetPolicy", "", name)).object
        return found if (found.get("status") or {}).get("ratePerHour") == "1.00" else None

    budget = await until("the budget of the cluster to show its rate", reported)
    assert budget is not None
    assert conditions(budget)["Ready"]["reason"] == "Funded"
    (record,) = (await scene.book()).placements.values()
    assert set(record.terms.rates) == {name, f"{scene.namespace}/team"}


async def test_a_budget_on_trial_lets_everything_run_says_what_it_would_refuse_and_then_binds(scene: Scene) -> None:
    await scene.create(policy("team", scene.namespace, rate="1.50", enforcement="DryRun"))
    await scene.operate()
    await scene.create(scene.service("chat", inference={"minReplicas": 2}))
    served = await scene.ready("chat", 2)
    assert served["status"].get("refusal") is None
    assert await scene.condition("chat", "BudgetAdmitted", "True", "Counted")

    async def objected() -> dict[str, Any] | None:
        found = await scene.get("BudgetPolicy", "team")
        return found if conditions(found).get("Ready", {}).get("reason") == "WouldRefuse" else None

    trial = await until("the budget to say what it would refuse", objected)
    assert trial is not None
    (row,) = trial["status"]["wouldRefuse"]
    assert {**row, "since": ""} == {
        "service": f"{scene.namespace}/chat",
        "blockedBy": "Rate",
        "replicas": 1,
        "need": "1.00",
        "have": "0.50",
        "fits": 1,
        "since": "",
    }

    async def told() -> list[str]:
        events = (await scene.kube.list("Event", namespace=scene.namespace)).items
        return [one["message"] for one in events if one["reason"] == "BudgetWouldRefuse"]

    (message,) = await until("an Event about it", told) or []
    assert "one more costs 1.00 USD an hour and 0.50 USD an hour is left below maxRatePerHour" in message
    (record,) = (await scene.book()).placements.values()
    assert record.hold_through is None

    await scene.patch("BudgetPolicy", "team", "/spec/enforcement", "Hard")

    async def held() -> bool:
        (record,) = (await scene.book()).placements.values()
        return record.hold_through is not None

    await until("money to be held for what runs", held)
    message = await scene.condition("chat", "BudgetAdmitted", "True", "Held")
    assert f"{scene.namespace}/team" in message
    await scene.ready("chat", 2)
    assert "wouldRefuse" not in (await scene.get("BudgetPolicy", "team"))["status"]


async def test_the_limit_of_a_budget_refuses_what_it_cannot_hold_for_the_horizon(scene: Scene, books: Versions) -> None:
    # 3600 s ahead and 150 s to stop (120 s late, 30 s to stop): 1.041667 USD for one pod.
    await scene.create(policy("team", scene.namespace, limit="2.50"))
    await scene.operate()
    await scene.create(scene.service("chat", inference={"minReplicas": 3}))
    seen = await refusal(scene, "chat")
    assert (seen["blockedBy"], seen["need"]) == ("Limit", "1.041667")
    assert float(seen["have"]) == pytest.approx(2.50 - 2 * 1.041667, abs=0.02)
    await scene.ready("chat", 2)
    await scene.condition("chat", "BudgetAdmitted", "False", "BudgetExhausted")

    async def reported() -> dict[str, Any] | None:
        found = await scene.get("BudgetPolicy", "team")
        ready = conditions(found).get("Ready", {})
        return found if ready.get("reason") == "Exhausted" else None

    budget = await until("the budget to say so", reported) or {}
    assert budget["status"]["limit"] == "2.50"
    assert budget["status"]["ratePerHour"] == "2.00"
    assert float(budget["status"]["available"]) < 1.05


async def test_what_a_past_day_left_unused_pays_today_and_who_is_refused_learns_when_there_is_enough(
    scene: Scene,
) -> None:
    today = int(datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp())
    line = Line(f"{scene.namespace}/old", "Inference", scene.pool, 1_600_000)
    past = Account(f"{scene.namespace}/team", today - 2 * 86400, today - 86400, "USD", 2_200_000, lines=(line,))
    past = replace(past, carry_over=CarryOver(unused=Unused.ALL))
    present = replace(past, start=today, end=today + 86400, lines=(replace(line, closed=1_700_000),))
    book = encode(Book(past.end, (past, present)))
    await scene.create(manifest(OURS, "BudgetLedger", "open", scene.namespace, book=book))
    await scene.create(policy("team", scene.namespace, limit="2.20", carryOver={"unused": "All"}))
    await scene.operate()
    await scene.create(scene.service("chat"))
    await scene.ready("chat", 1)

    async def reported() -> dict[str, Any] | None:
        status = (await scene.get("BudgetPolicy", "team")).get("status") or {}
        return status if "adjustments" in status else None

    status = await until("the budget to show what is carried", reported) or {}
    assert status["adjustments"] == {"carried": "0.60", "carriedIs": "Final", "corrected": "0.00"}
    assert status["limit"] == "2.80"

    async def kept() -> dict[str, Any] | None:
        pages = (await scene.kube.list("BudgetLedger", namespace=scene.namespace)).items
        return next((one["page"] for one in pages if "page" in one), None)

    page = await until("the page of that day", kept) or {}
    assert (page["limit"], page["posted"], page["carryOver"]) == (
        2_200_000,
        1_600_000,
        {"overspend": "Carry", "unused": "All"},
    )

    await scene.create(scene.service("late"))
    late = await refusal(scene, "late")
    assert late["affordableAt"] == format_time(today + 86400)
    assert late["fitsNow"] == {"replicas": 0}
    message = await scene.condition("late", "BudgetAdmitted", "False", "BudgetExhausted")
    assert f"There is enough for one more from {late['affordableAt']} on." in message


async def test_s10_a_budget_for_a_service_that_runs_counts_from_its_own_start_and_says_until_when_it_pays(
    scene: Scene,
) -> None:
    await scene.operate()
    await scene.create(scene.service("chat"))
    await scene.ready("chat", 1)
    assert "fundedUntil" not in (await scene.get("ModelService", "chat"))["status"]
    made = await scene.create(policy("team", scene.namespace))
    born = parse_time(made["metadata"]["creationTimestamp"]) or 0

    async def pays() -> dict[str, Any] | None:
        status = (await scene.get("BudgetPolicy", "team")).get("status") or {}
        return status if "fundedUntil" in status else None

    status = await until("the budget to pay", pays) or {}
    since = parse_time(status["period"]["countedSince"]) or 0
    assert born <= since <= born + 30
    assert parse_amount(status["spent"]) <= 1_000_000 * 30 // 3600
    ready = conditions(await scene.get("BudgetPolicy", "team"))["Ready"]["message"]
    assert f"What ran before {status['period']['countedSince']}, when the budget began, is not counted." in ready
    assert status["guarantee"]["worstCasePeriodTotal"]["amount"] == "100.00"

    async def paid() -> bool:
        return bool((await scene.get("ModelService", "chat"))["status"].get("fundedUntil") == status["fundedUntil"])

    await until("the service to say so too", paid)
    (record,) = (await scene.book()).placements.values()
    told = parse_time(status["fundedUntil"]) or 0
    assert told <= (record.hold_through or 0) < told + 3600
    await scene.ready("chat", 1)


async def test_a_threshold_takes_a_service_to_zero_once_and_gives_back_what_it_took(
    scene: Scene, books: Versions
) -> None:
    # Two pods are paid 2.08 USD ahead, 41 % of the limit; when they have stopped nearly nothing is left of that.
    most = {"name": "most", "atPercent": 40, "clearBelowPercent": 10, "actions": ["Notify", "ScaleToZero"]}
    await scene.create(policy("team", scene.namespace, limit="5.00", thresholds=[most]))
    await scene.operate()
    children = await Versions(scene, "Deployment").start()
    await scene.create(scene.service("chat", priority="Batch", inference={"minReplicas": 2}))
    message = await scene.condition("chat", "BudgetAdmitted", "False", "ThresholdReached")
    assert f"threshold most of {scene.namespace}/team was reached" in message

    async def undone() -> dict[str, Any] | None:
        rows = (await scene.get("BudgetPolicy", "team"))["status"].get("appliedActions", ())
        return next((row for row in rows if row["effect"] == "Undone"), None)

    row = await until("the threshold to be undone", undone)
    assert row is not None
    await scene.ready("chat", 2)
    assert await undone() == row
    counts = [version["spec"]["replicas"] for version in await children.stop()]
    assert [count for count, _ in groupby(counts)][-3:] == [2, 0, 2]
    events = (await scene.kube.list("Event", namespace=scene.namespace)).items
    told = sorted(one["reason"] for one in events if one["reason"].startswith("BudgetThreshold"))
    assert told == ["BudgetThresholdReached", "BudgetThresholdUndone"]


async def test_a_child_scaled_by_hand_goes_back_and_no_extra_pod_is_ever_ungated(scene: Scene, books: Versions) -> None:
    await scene.create(policy("team", scene.namespace, rate="2.50"))
    await scene.operate()
    await scene.create(scene.service("chat", inference={"minReplicas": 2}))
    await scene.ready("chat", 2)
    before = {pod["metadata"]["uid"] for pod in await scene.pods("chat")}
    (child,) = await scene.deployments("chat")
    pods = await Versions(scene, "Pod").start()
    await scene.patch("Deployment", child["metadata"]["name"], "/spec/replicas", 10)

    async def back() -> bool:
        return bool((await scene.get("Deployment", child["metadata"]["name"]))["spec"]["replicas"] == 2)

    async def alone() -> bool:
        return {pod["metadata"]["uid"] for pod in await scene.pods("chat")} == before

    await until("the funded count to be restored", back)
    await until("the pods beyond it to go, and no other", alone)
    assert await ungated(pods) <= before
    await scene.ready("chat", 2)


async def test_an_operator_that_is_replaced_half_way_starts_nothing_twice(scene: Scene, books: Versions) -> None:
    await scene.create(policy("team", scene.namespace, rate="4.00"))
    first = await scene.operate()
    pods = await Versions(scene, "Pod").start()
    await scene.create(scene.service("chat", inference={"minReplicas": 4}))

    async def begun() -> bool:
        return bool(await scene.pods("chat"))

    await until("the first pod", begun)
    task = next(task for one, task in scene.runs.tasks if one is first)
    task.cancel()  # no orderly end: what is in flight is lost
    await asyncio.gather(task, return_exceptions=True)
    scene.runs.tasks.clear()
    await scene.operate()
    await scene.ready("chat", 4)
    assert len(await ungated(pods)) == 4
    book = await scene.book()
    assert sum(len(placement.units) for placement in book.placements.values()) == 4


async def test_a_lowered_rate_lets_running_pods_run_and_starts_no_more(scene: Scene, books: Versions) -> None:
    await scene.create(policy("team", scene.namespace, rate="3.00"))
    await scene.operate()
    await scene.create(scene.service("chat", inference={"minReplicas": 2}))
    await scene.ready("chat", 2)
    await scene.patch("BudgetPolicy", "team", "/spec/maxRatePerHour", "1.50")
    await scene.patch("ModelService", "chat", "/spec/inference/minReplicas", 3)
    seen = await refusal(scene, "chat")
    assert (seen["blockedBy"], seen["need"], seen["have"]) == ("Rate", "1.00", "0.00")
    assert len(await scene.pods("chat")) == 2


async def test_money_of_a_stopped_pod_comes_back_when_its_node_has_reported_since(
    scene: Scene, books: Versions
) -> None:
    await scene.create(policy("team", scene.namespace, limit="2.50"))
    await scene.operate()
    await scene.create(scene.service("one", inference={"minReplicas": 2}))
    await scene.ready("one", 2)
    await scene.create(scene.service("two"))
    await scene.condition("two", "BudgetAdmitted", "False", "BudgetExhausted")
    await scene.patch("ModelService", "one", "/spec/suspend", True)
    await scene.condition("one", "Ready", "False", "Suspended")
    await scene.ready("two", 1, seconds=60)


async def test_another_currency_is_refused_and_never_converted(scene: Scene) -> None:
    await scene.create(policy("team", scene.namespace, currency="EUR"))
    await scene.operate()
    await scene.create(scene.service("chat"))
    message = await scene.condition("chat", "BudgetAdmitted", "False", "CurrencyMismatch")
    assert "priced in USD" in message
    assert "EUR" in message
    assert await scene.pods("chat") == []


async def test_a_required_budget_that_is_missing_starts_nothing(scene: Scene) -> None:
    scene.settings["budget_required"] = True
    await scene.operate()
    await scene.create(scene.service("chat"))
    await scene.condition("chat", "BudgetAdmitted", "False", "BudgetRequired")
    assert await scene.pods("chat") == []
    await scene.create(policy("team", scene.namespace))
    await scene.ready("chat", 1)


async def test_a_gated_pod_that_asks_for_more_than_was_priced_is_never_started(scene: Scene, books: Versions) -> None:
    await scene.create(policy("team", scene.namespace))
    await scene.operate()
    await scene.create(scene.service("chat"))
    await scene.ready("chat", 1)
    (child,) = await scene.deployments("chat")
    (pod,) = await scene.pods("chat")
    spec = child["spec"]["template"]["spec"]
    greedy = {**spec["containers"][0], "resources": {"requests": {"cpu": "4", "memory": "1Gi"}}}
    labels = {key: value for key, value in pod["metadata"]["labels"].items() if key != "pod-template-hash"}
    shape = {**spec, "containers": [greedy]}
    made = await scene.create(manifest("v1", "Pod", "greedy", scene.namespace, labels=labels, spec=shape))
    await scene.patch("ModelService", "chat", "/spec/inference/minReplicas", 2)

    async def two() -> bool:
        return sum("nodeName" in one["spec"] for one in await scene.pods("chat")) == 2

    await until("the second pod of its own", two)
    book = await scene.book()
    assert book.placement_of(made["metadata"]["uid"]) is None
    assert (await scene.get("Pod", "greedy"))["spec"]["schedulingGates"] == [{"name": GATE}]


async def test_a_pod_found_running_without_a_hold_is_booked_and_named(scene: Scene) -> None:
    await scene.create(policy("team", scene.namespace))
    await scene.operate()
    await scene.create(scene.service("chat"))
    await scene.ready("chat", 1)
    (child,) = await scene.deployments("chat")
    await scene.runs.stop(scene.runs.tasks[0][0])
    await scene.patch("Deployment", child["metadata"]["name"], "/spec/replicas", 2)

    async def gated() -> dict[str, Any] | None:
        return next((pod for pod in await scene.pods("chat") if pod["spec"].get("schedulingGates")), None)

    waiting = await until("a gated pod", gated) or {}
    name = waiting["metadata"]["name"]
    operations = [{"op": "remove", "path": "/spec/schedulingGates/0"}]
    await scene.kube.patch_json("Pod", scene.namespace, name, operations, manager="break-glass")

    async def bound() -> bool:
        return "nodeName" in (await scene.get("Pod", name))["spec"]

    await until("the pod to be bound", bound)
    await scene.patch("ModelService", "chat", "/spec/inference/minReplicas", 2)
    await scene.operate()
    message = await scene.condition("chat", "BudgetAdmitted", "False", "UnheldPods")
    assert name in message
    assert (await scene.book()).placement_of(waiting["metadata"]["uid"]) is not None
