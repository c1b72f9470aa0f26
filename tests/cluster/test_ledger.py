"""A book that was deleted or put back under running services: nothing is lost, and nobody pays twice for the fault."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from cluster import Cluster
from modelservice.adapters.kube import Kube
from modelservice.app import build
from modelservice.cli.ledger import acknowledge, export, put_back
from modelservice.controllers.pages import DAY_SECONDS, Pages, ledger
from modelservice.controllers.world import World
from modelservice.domain.archive import read
from modelservice.domain.book import Account, Book, Line
from modelservice.domain.codec import decode, decode_page, encode, encode_page
from modelservice.kit.clock import SystemClock
from modelservice.kit.errors import NotFound

from tests.cluster.conftest import FakeNodes, Runs, get, manifest, until
from tests.cluster.scenes import Scene, conditions, policy, staged


@pytest.fixture
async def scene(
    cluster: Cluster, kube: Kube, namespace: str, nodes: FakeNodes, operators: Runs
) -> AsyncIterator[Scene]:
    """A pod of 1 cpu costs 10.00 USD an hour."""
    async with staged(Scene(cluster, kube, namespace, nodes, operators), nodes=2, price="40.00") as made:
        yield made


async def delete_book(scene: Scene) -> None:
    stored = await scene.get("BudgetLedger", "open")
    await scene.kube.delete("BudgetLedger", scene.namespace, "open", uid=stored["metadata"]["uid"])


async def frozen(scene: Scene, because: str) -> Book:
    """The book once it is there again and frozen for that reason."""

    async def seen() -> dict[str, Any] | None:
        found = (await scene.kube.list("BudgetLedger", namespace=scene.namespace)).items
        return next((one for one in found if because in (one.get("freeze") or {}).get("because", "")), None)

    stored = await until(f"a book that is frozen since {because}", seen) or {}
    message = await scene.condition("chat", "BudgetAdmitted", "False", "Frozen")
    assert because in message
    assert "modelservice ledger acknowledge" in message
    return decode(stored["book"])


async def budget(scene: Scene, reason: str) -> dict[str, Any]:
    """The budget once its condition has that reason."""

    async def seen() -> dict[str, Any] | None:
        found = await scene.get("BudgetPolicy", "team")
        return found if conditions(found).get("Ready", {}).get("reason") == reason else None

    return await until(f"the budget to say {reason}", seen) or {}


async def running(scene: Scene) -> set[str]:
    return {pod["metadata"]["uid"] for pod in await scene.pods("chat") if "nodeName" in pod["spec"]}


def units(book: Book) -> set[str]:
    return {uid for placement in book.placements.values() for uid in placement.units}


def spent(book: Book) -> int:
    return sum(book.posted(account) for account in book.accounts)


async def test_a_book_that_is_deleted_put_back_or_lost_with_the_operator_is_frozen_and_has_all_that_was_spent(
    scene: Scene,
) -> None:
    await scene.create(policy("team", scene.namespace))
    operator = await scene.operate()
    await scene.create(scene.service("chat"))
    await scene.ready("chat", 1)
    first = await running(scene)
    old = await scene.get("BudgetLedger", "open")

    await delete_book(scene)
    await scene.patch("ModelService", "chat", "/spec/inference/minReplicas", 2)
    book = await frozen(scene, "The book was deleted.")
    assert units(book) == first == await running(scene)
    assert spent(book) >= spent(decode(old["book"]))
    assert "acknowledge" in conditions(await budget(scene, "Frozen"))["Ready"]["message"]
    assert (await scene.get("BudgetPolicy", "team"))["status"]["guarantee"]["level"] == "BestEffort"

    assert "The book was deleted." in await acknowledge(scene.kube, scene.namespace)
    await scene.ready("chat", 2)
    assert first < (both := await running(scene))
    assert "nothing to acknowledge" in await acknowledge(scene.kube, scene.namespace)

    before = await scene.get("BudgetLedger", "open")
    await scene.kube.replace({**before, "book": old["book"]}, manager="tests")
    await scene.patch("ModelService", "chat", "/spec/inference/minReplicas", 3)
    book = await frozen(scene, "The book was put back to ")
    assert units(book) == both == await running(scene)
    assert spent(book) >= spent(decode(before["book"]))
    await acknowledge(scene.kube, scene.namespace)
    await scene.ready("chat", 3)

    three = await running(scene)
    await scene.patch("BudgetLedger", "open", "/book/accounts/0/posted", 1)
    await scene.patch("ModelService", "chat", "/spec/inference/minReplicas", 4)
    book = await frozen(scene, "The book was changed and contradicts itself.")
    assert units(book) == three == await running(scene)
    await acknowledge(scene.kube, scene.namespace)
    await scene.patch("ModelService", "chat", "/spec/inference/minReplicas", 2)
    await scene.ready("chat", 2)

    async def closed() -> bool:
        return any(account.closed for account in (await scene.book()).accounts)

    await until("the third pod to be closed", closed)
    two, known = await running(scene), spent(await scene.book())

    async def told() -> bool:
        status = (await scene.get("BudgetPolicy", "team"))["status"]
        return status["ratePerHour"] == "20.00" and float(status["spent"]) * 10**6 >= known

    await until("the status to say what was spent", told, seconds=90)
    await scene.runs.stop(operator)
    await delete_book(scene)
    await scene.operate()
    book = await frozen(scene, "There was no book, although 2 pods run")
    assert units(book) == two == await running(scene)
    assert spent(book) >= known
    (child,) = await scene.deployments("chat")
    assert child["spec"]["replicas"] == 2
    await acknowledge(scene.kube, scene.namespace)
    await scene.condition("chat", "BudgetAdmitted", "True", "Held")
    assert await running(scene) == two


async def test_an_operator_in_another_namespace_waits_until_the_book_was_brought_there(scene: Scene) -> None:
    await scene.create(policy("team", scene.namespace))
    first = await scene.operate()
    await scene.create(scene.service("chat"))
    await scene.ready("chat", 1)
    await scene.runs.stop(first)
    there, kube = f"{scene.namespace}-there", scene.kube
    await scene.create(manifest("v1", "Namespace", there))
    second = await scene.runs.start(build, namespace=there, tick_seconds=0.5)

    async def refused() -> str:
        status, text = await get(second.port, "/readyz")
        return text if status == 503 else ""

    said = await until("the second operator to say what is in its way", refused)
    assert f"Namespace {scene.namespace} has a book of budgets too, as of 20" in said
    assert f"kubectl -n {scene.namespace} delete budgetledgers --all" in said
    archive = read(await export(kube, scene.namespace))
    known, pods = spent(await scene.book()), await running(scene)
    assert (await kube.list("BudgetLedger", namespace=there)).items == []
    await delete_book(scene)

    async def brought() -> dict[str, Any] | None:
        found = (await kube.list("BudgetLedger", namespace=there)).items
        return next((one for one in found if "freeze" in one), None)

    stored = await until("a frozen book in the other namespace", brought) or {}
    assert "There was no book, although 1 pods run" in stored["freeze"]["because"]
    await put_back(kube, there, archive, apply=True)
    assert "There was no book" in await acknowledge(kube, there)
    await scene.condition("chat", "BudgetAdmitted", "True", "Held")
    assert (await get(second.port, "/readyz"))[0] == 200
    book = decode((await kube.get("BudgetLedger", there, "open")).object["book"])
    assert spent(book) >= known
    assert units(book) == pods == await running(scene)
    await scene.runs.stop(second)
    stored = (await kube.get("BudgetLedger", there, "open")).object
    await kube.delete("BudgetLedger", there, "open", uid=stored["metadata"]["uid"])


async def stored_pages(kube: Kube, namespace: str) -> dict[str, Account]:
    listed = (await kube.list("BudgetLedger", namespace=namespace)).items
    return {one["metadata"]["name"]: decode_page(one["page"]) for one in listed if "page" in one}


async def test_a_page_is_never_written_over_and_goes_when_its_period_ended_long_ago(kube: Kube, namespace: str) -> None:
    pages = Pages(World(SystemClock()), kube, namespace, days=30)
    now = int(time.time())
    line = Line("team/chat", "Inference", "cpu", 7_000, -1)
    day = Account("team/a", now - 40 * DAY_SECONDS, now - 39 * DAY_SECONDS, "USD", 10_000, sealed=True, lines=(line,))
    month = replace(day, end=now - 10 * DAY_SECONDS, lines=(replace(line, closed=9_000),))
    more = replace(day, lines=(replace(line, closed=7_500),))
    name = f"team.a.{day.start}"

    for account in (day, month, day, more, more):
        await Pages(pages.world, kube, namespace, days=30).keep(Book(now, (account,)))
    rest = replace(day, lines=(replace(line, closed=500, adjusted=0),))
    assert await stored_pages(kube, namespace) == {name: day, f"{name}-2": month, f"{name}-3": rest}
    assert await pages.keep(Book(now, (month, replace(day, start=0, sealed=False)))) == {month.key}

    await pages.sweep()
    assert await stored_pages(kube, namespace) == {f"{name}-2": month}


async def test_an_export_brings_back_a_ledger_that_was_lost_and_shows_before_what_it_would_do(
    kube: Kube, namespace: str
) -> None:
    now = int(time.time())
    line = Line("team/chat", "Inference", "cpu", 7_000_000, -1)
    month = Account("team/a", now - 100, now + 10**6, "USD", 10**8, lines=(line,))
    past = replace(month, start=now - 200, end=now - 100, sealed=True)
    with pytest.raises(NotFound):
        await export(kube, namespace)
    for name, content in (("open", {"book": encode(Book(now, (month,)))}), ("p", {"page": encode_page(Book(), past)})):
        await kube.create(ledger(namespace, name, **content), manager="tests")
    archive = read(await export(kube, namespace))
    assert (archive.book.accounts, archive.pages) == ((month,), (past,))
    assert archive.ledger.endswith(f"/{namespace}")
    assert "Nothing is to be done." in await put_back(kube, namespace, archive, apply=True)

    for name in ("open", "p"):
        uid = (await kube.get("BudgetLedger", namespace, name)).object["metadata"]["uid"]
        await kube.delete("BudgetLedger", namespace, name, uid=uid)
    shown = await put_back(kube, namespace, archive, apply=False)
    assert shown.endswith("To do this, add --apply.")
    assert (await kube.list("BudgetLedger", namespace=namespace)).items == []
    done = await put_back(kube, namespace, archive, apply=True)
    assert done == shown.replace("To do this, add --apply.", "This was done.")
    assert await stored_pages(kube, namespace) == {f"team.a.{past.start}": past}
    stored = (await kube.get("BudgetLedger", namespace, "open")).object
    (account,) = decode(stored["book"]).accounts
    assert (account.start, account.end, account.closed) == (month.start, month.end, 7_000_000)
    assert "Nothing is to be done." in await put_back(kube, namespace, archive, apply=True)
