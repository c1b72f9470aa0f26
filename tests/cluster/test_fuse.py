"""The fuse with the rights that the chart gives it, break-glass, and what budgets promise with and without them.

Everybody acts under their own name: the operator and the fuse as the ServiceAccounts of the chart.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster
from modelservice.adapters.kube import Kube, login
from modelservice.cli.fuse import FuseProcess
from modelservice.controllers.fuse import Fuse
from modelservice.controllers.safeguards import FUSE_LEASE, Safeguards, lease_spec, watch_of
from modelservice.controllers.world import World
from modelservice.domain.book import Book, Placement, Terms, Unit
from modelservice.domain.codec import decode, encode
from modelservice.domain.guarantee import ALL_IS_WELL, GAP_SECONDS, Watch
from modelservice.domain.prices import Billing
from modelservice.domain.times import format_time
from modelservice.kit.clock import SystemClock
from modelservice.kit.errors import Forbidden
from modelservice.kit.meter import NoMeter
from modelservice.settings import Settings

from tests.cluster.charted import BREAK_GLASS, FUSE, GATE, LEDGER, OPERATOR, SYSTEM, as_person, charted, pod, rendered
from tests.cluster.conftest import FakeNodes, Runs, get, until
from tests.cluster.plane import REPO
from tests.cluster.rest import Object, Rest
from tests.cluster.scenes import Scene, policy, staged

LEDGERS = f"/apis/modelservice.dev/v1alpha1/namespaces/{SYSTEM}/budgetledgers"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/{FUSE_LEASE}"
BINDING = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/modelservice-fuse"
POLICIES = "modelservice-pods modelservice-ledgers modelservice-fuse"
UNTIL = "modelservice.dev/break-glass-until"
LONG = "2100-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def owner(cluster: Cluster) -> Iterator[Rest]:
    with charted(cluster, rendered()) as rest:
        yield rest


@pytest.fixture
def hero(owner: Rest) -> Rest:
    """The administrator as a member of the break-glass group."""
    return owner.person("hero", "system:masters", BREAK_GLASS)


@pytest.fixture
async def fuse(owner: Rest, kube: Kube, tmp_path: Path) -> AsyncIterator[Fuse]:
    """A fuse that looks when it is told to."""
    async with (
        as_person(kube, tmp_path, FUSE) as kubeconfig,
        Kube(await login(str(kubeconfig)), user_agent="fuse") as client,
    ):
        yield Fuse(client, SystemClock(), NoMeter(), SYSTEM, "fuse-of-the-test", 1.0)


@pytest.fixture(autouse=True)
def clean(owner: Rest, hero: Rest) -> Iterator[None]:
    """No book and no Lease before and after a test."""
    for path, person in ((f"{LEDGERS}/open", hero), (LEASE, owner)):
        assert person.delete(path).code in (200, 404)
    yield
    for path, person in ((f"{LEDGERS}/open", hero), (LEASE, owner)):
        assert person.delete(path).code in (200, 404)


def write(owner: Rest, book: Object) -> None:
    """Store a book as the operator does."""
    operator = owner.person(OPERATOR)
    found = operator.get(f"{LEDGERS}/open")
    if found.code == 404:
        operator.post(LEDGERS, {**LEDGER, "book": book}).ok()
    else:
        operator.put(f"{LEDGERS}/open", {**found.ok(), "book": book}).ok()


def booked(holds: dict[str, int | None], *, start: int) -> Object:
    """A book in which each pod has a placement of its own that is paid through that time."""
    terms = Terms("team/chat", "Inference", "cpu", "USD", {}, Billing(30))
    placements = {
        f"team/{number}": Placement(f"team/{number}", terms, hold, {uid: Unit(start)})
        for number, (uid, hold) in enumerate(holds.items())
    }
    return encode(Book(start, placements=placements))


def ours(name: str, *, role: str = "Inference", spared_until: str = "") -> Object:
    """A pod as the operator's Deployments make them."""
    labels = {
        "app.kubernetes.io/managed-by": "modelservice",
        "modelservice.dev/name": "chat",
        "modelservice.dev/role": role,
        "modelservice.dev/placement": "1a2b3c4d",
    }
    made = pod(name, labels=labels)
    if spared_until:
        made["metadata"]["annotations"] = {UNTIL: spared_until}
    return made


class Team:
    """Pods of one namespace, made by the break-glass group so that each can be as a test wants it."""

    def __init__(self, hero: Rest, kube: Kube, namespace: str) -> None:
        self.hero, self.kube, self.namespace = hero, kube, namespace
        self.path = f"/api/v1/namespaces/{namespace}/pods"

    def gated(self, name: str, **more: Any) -> str:
        uid: str = self.hero.post(self.path, ours(name, **more)).ok()["metadata"]["uid"]
        return uid

    async def running(self, name: str, **more: Any) -> str:
        uid = self.gated(name, **more)
        self.hero.patch(f"{self.path}/{name}", {"spec": {"schedulingGates": None}}).ok()

        async def bound() -> bool:
            return "nodeName" in (await self.kube.get("Pod", self.namespace, name)).object["spec"]

        await until(f"{name} to be bound", bound)
        return uid

    async def names(self) -> set[str]:
        items = (await self.kube.list("Pod", namespace=self.namespace)).items
        return {item["metadata"]["name"] for item in items if "deletionTimestamp" not in item["metadata"]}

    async def date(self) -> int:
        return (await self.kube.list("Pod", namespace=self.namespace)).date


@pytest.fixture
async def team(hero: Rest, kube: Kube, namespace: str, nodes: FakeNodes) -> AsyncIterator[Team]:
    """A namespace with a node; its pods go before the next test, since a fuse sees all namespaces."""
    await nodes.add(f"{namespace}-0")
    made = Team(hero, kube, namespace)
    yield made
    hero.delete(f"{made.path}?gracePeriodSeconds=0").ok()

    async def empty() -> bool:
        return not (await kube.list("Pod", namespace=namespace)).items

    await until("the pods to be gone", empty)


async def test_without_an_operator_the_fuse_deletes_exactly_the_pods_that_nobody_pays_any_longer(
    owner: Rest, fuse: Fuse, team: Team
) -> None:
    uids = {name: await team.running(name) for name in ("paid", "due", "unlimited", "unknown")}
    uids["due-gated"] = team.gated("due-gated")
    uids["spared"] = await team.running("spared", spared_until=LONG)
    uids["was-spared"] = await team.running("was-spared", spared_until="2020-01-01T00:00:00Z")
    team.gated("waiting")
    await team.running("spared-unknown", spared_until=LONG)
    await team.running("ended", role="Training")
    owner.patch(f"{team.path}/ended/status", {"status": {"phase": "Succeeded"}}).ok()
    owner.post(team.path, pod("foreign", gated=False, labels={"app": "x"})).ok()
    everything = await team.names()
    now = await team.date()
    due = now + 3
    holds = {"paid": now + 3600, "due": due, "unlimited": None, "due-gated": due, "spared": due, "was-spared": due}
    write(owner, booked({uids[name]: hold for name, hold in holds.items()}, start=now))
    assert await fuse.step(), fuse.problem
    assert await team.names() == everything - {"unknown"}

    async def late() -> bool:
        before = await team.names()
        assert await fuse.step(), fuse.problem
        gone = before - await team.names()
        assert not gone or await team.date() >= due
        return bool(gone)

    await until("the end of the hold", late)
    assert await team.names() == everything - {"unknown", "due", "due-gated", "was-spared"}


async def test_the_lease_tells_of_a_watch_and_of_the_pods_that_are_spared_in_it(
    owner: Rest, fuse: Fuse, team: Team
) -> None:
    uid = await team.running("chat")
    now = await team.date()
    write(owner, booked({uid: now + 3600}, start=now))
    assert await fuse.step()
    first = watch_of(owner.get(LEASE).ok())
    assert first is not None
    assert now <= first.since == first.until

    async def later() -> bool:
        assert await fuse.step()
        seen = watch_of(owner.get(LEASE).ok())
        return seen is not None and seen.until > first.until and seen.since == first.since

    await until("a longer watch", later)
    write(owner, booked({uid: now}, start=now - 3600))
    team.hero.patch(f"{team.path}/chat", {"metadata": {"annotations": {UNTIL: LONG}}}).ok()

    assert await fuse.step()
    seen = watch_of(owner.get(LEASE).ok())
    assert seen is not None
    assert (seen.since, seen.spared) == (first.since, {uid: seen.until})
    assert await team.names() == {"chat"}


async def test_a_watch_with_a_gap_begins_anew(owner: Rest, fuse: Fuse, team: Team) -> None:
    now = await team.date()
    write(owner, booked({}, start=now))
    assert await fuse.step()
    stored = owner.get(LEASE).ok()
    old = lease_spec(Watch(now - 900, now - GAP_SECONDS - 5), "fuse-of-yesterday")
    owner.put(LEASE, {**stored, "spec": old}).ok()
    assert await fuse.step()
    seen = watch_of(owner.get(LEASE).ok())
    assert seen is not None
    assert seen.since == seen.until >= now


async def test_a_book_that_cannot_be_read_deletes_nothing_but_what_the_last_one_proves(
    owner: Rest, fuse: Fuse, team: Team
) -> None:
    uids = {name: await team.running(name) for name in ("due", "paid")}
    assert not await fuse.step()
    assert "The book of budgets cannot be read" in fuse.problem
    assert await team.names() == {"due", "paid"}
    now = await team.date()
    write(owner, booked({uids["due"]: now + 3, uids["paid"]: now + 3600}, start=now))
    assert await fuse.step()
    before = owner.get(LEASE).ok()["spec"]
    account = {
        "policy": "team/monthly",
        "start": 0,
        "end": 10**10,
        "currency": "USD",
        "limit": 1,
        "posted": 5,
        "held": 5,
        "lines": [],
    }
    write(owner, {"time": now, "accounts": [account], "placements": []})
    await team.running("newer")

    async def proven() -> bool:
        assert not await fuse.step()
        return "due" not in await team.names()

    await until("the end of the hold", proven)
    assert await team.names() == {"paid", "newer"}
    assert "contradicts itself" in fuse.problem
    assert fuse.blind() == []
    assert owner.get(LEASE).ok()["spec"] == before


async def test_the_fuse_is_refused_a_foreign_pod(owner: Rest, fuse: Fuse, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    made = owner.post(path, pod("foreign", gated=False, labels={"app": "x"})).ok()
    with pytest.raises(Forbidden) as caught:
        await fuse.kube.delete("Pod", namespace, "foreign", uid=made["metadata"]["uid"])
    sentence = "The fuse deletes only pods with the label modelservice.dev/name: those of ModelServices."
    assert sentence in str(caught.value)
    assert owner.get(f"{path}/foreign").code == 200


@asynccontextmanager
async def burning(kubeconfig: Path) -> AsyncIterator[FuseProcess]:
    """The process of the fuse in the test's own event loop."""
    process = FuseProcess(
        Settings(
            kubeconfig=str(kubeconfig),
            namespace=SYSTEM,
            identity="fuse-0",
            http_host="127.0.0.1",
            http_port=0,
            fuse_poll_seconds=0.2,
        )
    )
    task = asyncio.create_task(process.run())
    try:
        await asyncio.wait_for(process.started.wait(), 20)
        yield process
    finally:
        process.stopping.set()
        await asyncio.wait_for(task, 20)


async def test_probes_and_metrics_of_the_fuse_say_whether_it_protects(
    owner: Rest, kube: Kube, team: Team, tmp_path: Path
) -> None:
    await team.running("unknown")
    async with as_person(kube, tmp_path, FUSE) as kubeconfig, burning(kubeconfig) as process:

        async def blind() -> bool:
            status, text = await get(process.port, "/readyz")
            return status == 503 and "The book of budgets cannot be read" in text

        await until("the fuse to miss the book", blind)
        assert (await get(process.port, "/healthz"))[0] == 200
        write(owner, booked({}, start=await team.date()))

        async def protects() -> bool:
            return (await get(process.port, "/readyz"))[0] == 200

        await until("the fuse to be ready", protects)
        _, metrics = await get(process.port, "/metrics")
        assert "modelservice_operator_fuse_deletions_total 1.0" in metrics
        assert 'modelservice_operator_fuse_looks_total{result="complete"}' in metrics
        assert await team.names() == set()


@pytest.fixture
async def scene(
    cluster: Cluster, kube: Kube, namespace: str, nodes: FakeNodes, operators: Runs, owner: Rest, tmp_path: Path
) -> AsyncIterator[Scene]:
    """The operator with its ServiceAccount and the chart's settings; its book is where the chart has it."""
    async with (
        as_person(kube, tmp_path, OPERATOR) as kubeconfig,
        staged(Scene(cluster, kube, namespace, nodes, operators)) as made,
    ):
        made.settings.update(kubeconfig=str(kubeconfig), namespace=SYSTEM, admission_policies=POLICIES)
        yield made
        for operator, _ in list(operators.tasks):
            await operators.stop(operator)


async def promises(scene: Scene, level: str, sentence: str) -> None:
    seen: Object = {}

    async def so() -> bool:
        seen.clear()
        seen.update((await scene.get("BudgetPolicy", "team")).get("status", {}).get("guarantee") or {})
        return seen.get("level") == level and sentence in seen["becauseOf"]

    try:
        await until(f"the guarantee {level}: {sentence}", so)
    except AssertionError as error:
        raise AssertionError(f"{error}; it is {seen}") from None


async def test_a_budget_promises_what_can_be_checked_and_the_fuse_takes_over_from_a_stopped_operator(
    owner: Rest, kube: Kube, scene: Scene, tmp_path: Path
) -> None:
    await scene.create(policy("team", scene.namespace))
    operator = await scene.operate()
    await scene.create(scene.service("chat"))
    await scene.ready("chat", 1)
    await promises(scene, "BestEffort", "No fuse has reported")
    async with as_person(kube, tmp_path, FUSE) as kubeconfig:
        async with burning(kubeconfig):
            await promises(scene, "Guaranteed", ALL_IS_WELL)
            owner.patch(BINDING, {"spec": {"validationActions": ["Warn"]}}).ok()
            await promises(
                scene, "BestEffort", "The ValidatingAdmissionPolicy modelservice-fuse does not deny everywhere."
            )
            owner.patch(BINDING, {"spec": {"validationActions": ["Deny"]}}).ok()
            await promises(scene, "Guaranteed", ALL_IS_WELL)
        old = lease_spec(Watch(0, (await kube.list("Node")).date - GAP_SECONDS - 5), "fuse-0")
        owner.put(LEASE, {**owner.get(LEASE).ok(), "spec": old}).ok()
        await promises(scene, "BestEffort", f"The fuse has finished no look for more than {GAP_SECONDS} s")
        async with burning(kubeconfig):
            await promises(scene, "Guaranteed", ALL_IS_WELL)
            await scene.runs.stop(operator)
            (running,) = await scene.pods("chat")
            await near(owner, running["metadata"]["uid"], (await kube.list("Node")).date + 2)

            async def replaced() -> Object | None:
                found = await scene.pods("chat")
                return next((one for one in found if one["metadata"]["uid"] != running["metadata"]["uid"]), None)

            waiting = await until("another pod in place of the deleted one", replaced) or {}
            assert waiting["spec"]["schedulingGates"] == [{"name": GATE}]
            looked = watch_of(owner.get(LEASE).ok())

            async def again() -> bool:
                seen = watch_of(owner.get(LEASE).ok())
                return seen is not None and looked is not None and seen.until > looked.until + 1

            await until("more looks of the fuse", again)
            assert [one["metadata"]["uid"] for one in await scene.pods("chat")] == [waiting["metadata"]["uid"]]


@pytest.mark.parametrize(
    ("names", "sentences"),
    [
        ("", ["The operator was told of no admission policies that keep gates and book."]),
        (POLICIES, []),
        ("theirs", ["The operator may not read the ValidatingAdmissionPolicy theirs and its binding."]),
    ],
)
async def test_an_admission_policy_counts_only_when_the_operator_sees_it_in_force(
    owner: Rest, kube: Kube, tmp_path: Path, names: str, sentences: list[str]
) -> None:
    async with (
        as_person(kube, tmp_path, OPERATOR) as kubeconfig,
        Kube(await login(str(kubeconfig)), user_agent="operator") as client,
    ):
        seen = Safeguards(World(SystemClock()), client, SYSTEM, names.split())
        await seen.look()
    assert list(seen.lacking) == sentences


async def test_an_admission_policy_that_is_gone_is_named(owner: Rest, kube: Kube) -> None:
    seen = Safeguards(World(SystemClock()), kube, SYSTEM, ["theirs"])
    await seen.look()
    assert seen.lacking == ("The ValidatingAdmissionPolicy theirs or its binding does not exist.",)
    assert seen.watch is None


async def near(owner: Rest, uid: str, hold: int) -> None:
    """Let the hold of a pod end soon, as if the horizon had passed without an operator."""
    book = decode(owner.get(f"{LEDGERS}/open").ok()["book"])
    placement = book.placement_of(uid)
    assert placement is not None
    write(owner, encode(book.with_placement(replace(placement, hold_through=hold))))


def bind(owner: Rest, namespace: str, kind: str, name: str) -> None:
    subject = {"kind": kind, "apiGroup": "rbac.authorization.k8s.io", "name": name}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}
    body = {"metadata": {"name": kind.lower()}, "subjects": [subject], "roleRef": reference}
    owner.post(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings", body).ok()


async def ungate(kubeconfig: Path, namespace: str, name: str, until_: str = LONG) -> tuple[int, str, str]:
    """The command as a person runs it: exit status, what it printed, and its errors."""
    command = [sys.executable, "-m", "modelservice.cli.main", "ungate", name, "-n", namespace]
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "PYTHONPATH": str(REPO / "operator")}
    process = await asyncio.create_subprocess_exec(
        *(*command, "--until", until_, "--reason", "the operator is down"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    out, err = await asyncio.wait_for(process.communicate(), 40)
    return process.returncode or 0, out.decode().strip(), err.decode().strip()


async def test_ungate_starts_a_pod_for_the_group_and_nobody_else(
    owner: Rest, kube: Kube, team: Team, fuse: Fuse, tmp_path: Path
) -> None:
    namespace = team.namespace
    bind(owner, namespace, "User", "eve")
    bind(owner, namespace, "Group", BREAK_GLASS)
    team.gated("chat")
    write(owner, booked({}, start=await team.date()))
    async with (
        as_person(kube, tmp_path, "eve") as eve,
        as_person(kube, tmp_path, "mallory") as mallory,
        as_person(kube, tmp_path, "hero", BREAK_GLASS) as hero,
    ):
        for person in (eve, mallory):
            status, out, refusal = await ungate(person, namespace, "chat")
            assert (status, out) == (1, "")
            assert f"a member of the break-glass group who may get and patch pods in {namespace}" in refusal
        status, _, refusal = await ungate(hero, namespace, "chat", "2020-01-01T00:00:00Z")
        assert status == 1
        assert "--until 2020-01-01T00:00:00Z is past" in refusal
        assert (await ungate(hero, namespace, "nobody"))[2] == f"There is no pod nobody in {namespace}."
        assert owner.get(f"{team.path}/chat").ok()["spec"]["schedulingGates"] == [{"name": GATE}]
        assert await ungate(hero, namespace, "chat") == (
            0,
            (
                f"Pod chat in {namespace} starts without money held for it: until {LONG} neither operator nor fuse "
                "deletes it for want of money, so what it costs may pass the limits, and the budgets of "
                f"{namespace} promise BestEffort meanwhile."
            ),
            "",
        )

    async def runs() -> bool:
        return "nodeName" in (await kube.get("Pod", namespace, "chat")).object["spec"]

    await until("the pod to be bound", runs)
    assert await fuse.step()
    assert await team.names() == {"chat"}
    meta = owner.get(f"{team.path}/chat").ok()["metadata"]
    assert meta["annotations"]["modelservice.dev/break-glass-reason"] == "the operator is down"
    assert meta["annotations"]["controller.kubernetes.io/pod-deletion-cost"] == "2147483647"
    async with as_person(kube, tmp_path, "hero", BREAK_GLASS) as hero:
        status, out, _ = await ungate(hero, namespace, "chat", "2200-01-01T01:00:00+01:00")
    assert status == 0
    assert out.startswith(f"Pod chat in {namespace} goes on, paid or not: until 2200-01-01T00:00:00Z neither")
    assert owner.get(f"{team.path}/chat").ok()["metadata"]["annotations"][UNTIL] == "2200-01-01T00:00:00Z"


async def test_the_command_runs_until_it_is_told_to_stop(
    owner: Rest, kube: Kube, tmp_path: Path, unused_tcp_port: int
) -> None:
    write(owner, booked({}, start=0))
    async with as_person(kube, tmp_path, FUSE) as kubeconfig:
        environment = {
            **os.environ,
            "PYTHONPATH": str(REPO / "operator"),
            "MODELSERVICE_KUBECONFIG": str(kubeconfig),
            "MODELSERVICE_HTTP_HOST": "127.0.0.1",
            "MODELSERVICE_HTTP_PORT": str(unused_tcp_port),
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "modelservice.cli.main", "fuse"), stderr=asyncio.subprocess.PIPE, env=environment
        )
        try:

            async def watches() -> bool:
                return owner.get(LEASE).code == 200 and (await get(unused_tcp_port, "/readyz"))[0] == 200

            await until("the fuse to watch", watches)
        finally:
            process.terminate()
            _, said = await asyncio.wait_for(process.communicate(), 40)
    assert process.returncode == 0
    assert "Traceback" not in said.decode()


async def test_a_pod_by_break_glass_is_kept_by_the_operator_too_and_weakens_the_guarantee(
    owner: Rest, hero: Rest, kube: Kube, scene: Scene, tmp_path: Path
) -> None:
    await scene.create(policy("team", scene.namespace))
    operator = await scene.operate()
    await scene.create(scene.service("chat"))
    await scene.ready("chat", 1)
    (running,) = await scene.pods("chat")
    await scene.runs.stop(operator)
    end = format_time((await kube.list("Node")).date + 3600)
    annotations = {UNTIL: end, "modelservice.dev/break-glass-reason": "a demo for the board"}
    path = f"/api/v1/namespaces/{scene.namespace}/pods/{running['metadata']['name']}"
    hero.patch(path, {"metadata": {"annotations": annotations}}).ok()
    await scene.patch("BudgetPolicy", "team", "/spec/limit", "0.01")
    await near(owner, running["metadata"]["uid"], (await kube.list("Node")).date - 1)
    await scene.operate()
    name = running["metadata"]["name"]
    await promises(scene, "BestEffort", f"Pod {name} runs by break-glass until {end}: a demo for the board.")
    text = await scene.condition("chat", "BudgetAdmitted", "False", "BudgetExhausted")
    assert text.startswith("What runs goes on by break-glass alone: one more needs ")
    (made,) = await scene.deployments("chat")
    assert made["spec"]["replicas"] == 1
    assert "deletionTimestamp" not in owner.get(path).ok()["metadata"]
