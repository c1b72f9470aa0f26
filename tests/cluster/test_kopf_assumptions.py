"""What the operator takes for granted about Kopf 1.45, tried against a real API server (case C32 among it)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import kopf
import pytest
from modelservice import watch
from modelservice.adapters.kube import Kube, connection, login
from modelservice.adapters.telemetry import Telemetry
from modelservice.app import build
from modelservice.kit.cache import object_cache
from modelservice.kit.errors import NotFound
from modelservice.kit.objects import Ref, ref_of
from modelservice.kit.resync import Resync, Source
from modelservice.ports import Connection

from tests.cluster.conftest import Runs, manifest, until
from tests.cluster.proxy import Proxy

MARKER = "kopf.zalando.org/KopfFinalizerMarker"
FOREIGN = "example.com/somebody-elses"
POD = {"containers": [{"name": "main", "image": "one:1"}]}


@dataclass
class Recording(Source):
    """A source that remembers the events of its watch."""

    events: list[tuple[str | None, str]] = field(default_factory=list)

    def observe(self, event: str | None, obj: dict[str, Any]) -> None:
        self.events.append((event, obj["metadata"]["name"]))
        super().observe(event, obj)

    def version(self, ref: Ref) -> str | None:
        known = self.cache.get(ref)
        return known["metadata"]["resourceVersion"] if known else None


def source(kind: str, *, label_selector: str = "") -> Recording:
    return Recording(kind, object_cache(), lambda _obj, _priority: None, label_selector=label_selector)


@asynccontextmanager
async def watching(
    proxy: Proxy, directory: Path, *sources: Source, token: Callable[[], str | None] = lambda: None
) -> AsyncIterator[asyncio.Task[None]]:
    """Our watches, through the proxy, as the operator runs them; `token` is the one that is valid now."""
    configuration = await login(str(proxy.kubeconfig(directory)))

    async def credentials() -> Connection:
        return replace(await connection(configuration), token=token())

    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(watch.run(sources, credentials, stop=stop, ready=ready))
    try:
        await asyncio.wait_for(ready.wait(), 30)
        yield task
    finally:
        stop.set()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def proxy(kube: Kube) -> AsyncIterator[Proxy]:
    async with Proxy(kube).serve() as running:
        yield running


@pytest.fixture
async def foreign(kube: Kube, namespace: str) -> AsyncIterator[list[dict[str, Any]]]:
    """A Pod, Node, Deployment and Job of another Kopf operator and a ModelService that somebody else holds."""
    labels = {"app": "foreign"}
    job = {"suspend": True, "template": {"spec": {**POD, "restartPolicy": "Never"}}}
    template = {"metadata": {"labels": labels}, "spec": POD}
    deployment = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    inference = {"runtime": "modelservice-torch", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}
    service = {"model": {"storageUri": "pvc://models/a"}, "inference": inference}
    marked: dict[str, Any] = {"finalizers": [MARKER]}
    held: dict[str, Any] = {"finalizers": [FOREIGN]}
    gated = {**POD, "schedulingGates": [{"name": "example.com/hold"}]}
    made = [
        manifest("v1", "Pod", "foreign", namespace, **marked, spec=gated),
        manifest("v1", "Node", f"foreign-{namespace}", **marked),
        manifest("apps/v1", "Deployment", "foreign", namespace, **marked, spec=deployment),
        manifest("batch/v1", "Job", "foreign", namespace, **marked, spec=job),
        manifest("modelservice.dev/v1alpha1", "ModelService", "foreign", namespace, **held, spec=service),
    ]
    stored = [(await kube.create(obj, manager="somebody")).object for obj in made]
    yield [await at_rest(kube, obj) for obj in stored]
    for obj in stored:
        meta = obj["metadata"]
        where = (obj["kind"], meta.get("namespace", ""), meta["name"])
        try:
            if (await kube.get(*where)).object["metadata"].get("finalizers"):
                drop = [{"op": "remove", "path": "/metadata/finalizers"}]
                await kube.patch_json(*where, drop, manager="somebody")
            await kube.delete(*where, uid=meta["uid"], grace_seconds=0)
        except NotFound:
            continue


async def at_rest(kube: Kube, obj: dict[str, Any]) -> dict[str, Any]:
    """The object once Kubernetes' own controllers have nothing to add: the same version for a second."""
    seen = await read(kube, obj)
    for _ in range(30):
        await asyncio.sleep(1)
        now = await read(kube, obj)
        if now["metadata"]["resourceVersion"] == seen["metadata"]["resourceVersion"]:
            return now
        seen = now
    raise AssertionError(f"{obj['kind']} {obj['metadata']['name']} does not come to rest")


async def read(kube: Kube, obj: dict[str, Any]) -> dict[str, Any]:
    return (await kube.get(obj["kind"], *ref_of(obj))).object


async def touch(kube: Kube, obj: dict[str, Any], number: int) -> dict[str, Any]:
    """Change a label, which no controller minds; the version that was read is the precondition."""
    labels = {**obj["metadata"].get("labels", {}), "touched": str(number)}
    operations = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": obj["metadata"]["resourceVersion"]},
        {"op": "add", "path": "/metadata/labels", "value": labels},
    ]
    return (await kube.patch_json(obj["kind"], *ref_of(obj), operations, manager="somebody")).object


async def test_objects_and_finalizers_of_others_are_never_written_however_often_they_change(
    kube: Kube, proxy: Proxy, foreign: list[dict[str, Any]], tmp_path: Path
) -> None:
    sources = {obj["kind"]: source(obj["kind"]) for obj in foreign}
    finalizers = [obj["metadata"]["finalizers"] for obj in foreign]

    async def seen() -> bool:
        return all(sources[obj["kind"]].version(ref_of(obj)) == obj["metadata"]["resourceVersion"] for obj in foreign)

    async with watching(proxy, tmp_path, *sources.values()):
        await until("the first list of each watch", seen)
        for number in range(5):
            foreign = [await touch(kube, obj, number) for obj in foreign]
            await until("the touches to come through the watches", seen)
        await asyncio.sleep(1)
    now = [await read(kube, obj) for obj in foreign]
    assert [obj["metadata"]["finalizers"] for obj in now] == finalizers
    assert [obj["metadata"]["resourceVersion"] for obj in now] == [o["metadata"]["resourceVersion"] for o in foreign]
    assert proxy.writes == []


async def test_the_whole_operator_writes_to_no_object_of_others_and_takes_no_finalizer(
    kube: Kube, proxy: Proxy, foreign: list[dict[str, Any]], operators: Runs, namespace: str, tmp_path: Path
) -> None:
    service = foreign[-1]

    async def judged() -> bool:
        return bool((await read(kube, service)).get("status", {}).get("conditions"))

    await operators.start(build, kubeconfig=str(proxy.kubeconfig(tmp_path)), namespace=namespace)
    await until("the ModelService to be judged", judged)
    for number in range(5):
        foreign = [await touch(kube, await read(kube, obj), number) for obj in foreign]
        await asyncio.sleep(0.2)
    now = [await read(kube, obj) for obj in foreign]
    assert [obj["metadata"]["finalizers"] for obj in now] == [obj["metadata"]["finalizers"] for obj in foreign]
    others, ours = slice(0, -1), -1
    assert [obj["metadata"]["resourceVersion"] for obj in now[others]] == [
        obj["metadata"]["resourceVersion"] for obj in foreign[others]
    ]
    assert now[ours]["metadata"]["generation"] == service["metadata"]["generation"]
    written = {path.rsplit(" ", 1)[1] for path in proxy.writes}
    own = f"/apis/modelservice.dev/v1alpha1/namespaces/{namespace}"
    core = f"/api/v1/namespaces/{namespace}"
    child = f"{core}/services/foreign"  # the ModelService's own address
    allowed = (f"{own}/modelservices/foreign/status", f"{own}/budgetledgers", f"{core}/events", child)
    assert f"{own}/modelservices/foreign/status" in written
    assert [path for path in written if not path.startswith(allowed)] == []


async def test_a_finalizer_name_in_use_would_be_taken_away_from_its_owner(
    kube: Kube, proxy: Proxy, foreign: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above: with Kopf's own name it would fail."""
    monkeypatch.setattr(watch, "UNUSED_FINALIZER", kopf.OperatorSettings().persistence.finalizer)
    pod = foreign[0]

    async def gone() -> bool:
        return not (await read(kube, pod))["metadata"].get("finalizers")

    async with watching(proxy, tmp_path, source("Pod")):
        await until("Kopf to remove the marker", gone)
    assert proxy.writes == [f"PATCH /api/v1/namespaces/{pod['metadata']['namespace']}/pods/foreign"]


async def test_a_selector_keeps_foreign_pods_out_of_the_watch(
    kube: Kube, proxy: Proxy, namespace: str, tmp_path: Path
) -> None:
    ours = source("Pod", label_selector="modelservice.dev/name")
    gated = {**POD, "schedulingGates": [{"name": "example.com/hold"}]}
    async with watching(proxy, tmp_path, ours):
        await kube.create(manifest("v1", "Pod", "foreign", namespace, spec=gated), manager="tests")
        labels = {"modelservice.dev/name": "a"}
        await kube.create(manifest("v1", "Pod", "ours", namespace, labels=labels, spec=gated), manager="tests")

        async def seen() -> bool:
            return ours.version(Ref(namespace, "ours")) is not None

        await until("our pod to come through the watch", seen)
        assert {name for _, name in ours.events} == {"ours"}


async def test_a_deletion_during_an_expired_watch_is_never_reported_and_the_resync_finds_it(
    kube: Kube, proxy: Proxy, namespace: str, tmp_path: Path
) -> None:
    maps = source("ConfigMap", label_selector=f"run={namespace}")
    labels = {"run": namespace}
    stored = {}
    for name in ("gone", "changed"):
        stored[name] = (
            await kube.create(manifest("v1", "ConfigMap", name, namespace, labels=labels), manager="tests")
        ).object

    async def listed() -> bool:
        return {name for _, name in maps.events} == {"gone", "changed"} and proxy.watches > 0

    async def relisted() -> bool:
        return (None, "new") in maps.events and maps.version(Ref(namespace, "changed")) == changed["metadata"][
            "resourceVersion"
        ]

    telemetry = Telemetry()
    heard: list[str] = []
    maps.changed = lambda obj, _priority: heard.append(obj["metadata"]["name"])
    async with watching(proxy, tmp_path, maps):
        await until("the first list", listed)
        proxy.hold()
        await kube.delete("ConfigMap", namespace, "gone", uid=stored["gone"]["metadata"]["uid"])
        changed = await touch(kube, stored["changed"], 1)
        await kube.create(manifest("v1", "ConfigMap", "new", namespace, labels=labels), manager="tests")
        maps.events.clear()
        proxy.release(error=410)
        await until("the second list", relisted)
        assert {event for event, _ in maps.events} == {None}
        assert Ref(namespace, "gone") in maps.cache

        heard.clear()
        resync = Resync([maps], kube, telemetry, Random(0), settle=0.2)
        assert await resync.check(maps) == 1
        assert Ref(namespace, "gone") not in maps.cache
        assert heard == ["gone"]
        assert await resync.check(maps) == 0
    assert 'modelservice_operator_resync_ghosts_total{kind="ConfigMap"} 1.0' in telemetry.render().decode()


async def test_a_watch_that_is_cut_goes_on_where_it_was_without_a_list(
    kube: Kube, proxy: Proxy, namespace: str, tmp_path: Path
) -> None:
    maps = source("ConfigMap", label_selector=f"run={namespace}")
    labels = {"run": namespace}
    first = (await kube.create(manifest("v1", "ConfigMap", "a", namespace, labels=labels), manager="tests")).object

    async def listed() -> bool:
        return Ref(namespace, "a") in maps.cache and proxy.watches > 0

    async def told() -> bool:
        return ("DELETED", "a") in maps.events

    async with watching(proxy, tmp_path, maps):
        await until("the first list", listed)
        lists = len(proxy.lists)
        proxy.hold()
        await kube.delete("ConfigMap", namespace, "a", uid=first["metadata"]["uid"])
        proxy.release()
        await until("the deletion to be told", told)
        assert len(proxy.lists) == lists


async def test_lists_that_fail_are_repeated_and_do_not_end_the_watches(
    kube: Kube, proxy: Proxy, namespace: str, tmp_path: Path
) -> None:
    maps = source("ConfigMap", label_selector=f"run={namespace}")
    await kube.create(manifest("v1", "ConfigMap", "a", namespace, labels={"run": namespace}), manager="tests")
    proxy.failing = 2

    async def listed() -> bool:
        return Ref(namespace, "a") in maps.cache

    async with watching(proxy, tmp_path, maps) as task:
        await until("the list after two failures", listed)
        assert not task.done()
    assert proxy.failing == 0


async def test_any_other_error_in_a_watch_ends_kopf_so_that_the_operator_is_started_again(
    kube: Kube, proxy: Proxy, namespace: str, tmp_path: Path
) -> None:
    maps = source("ConfigMap", label_selector=f"run={namespace}")
    proxy.hold()
    proxy.release(error=500)
    async with watching(proxy, tmp_path, maps) as task:
        await asyncio.wait({task}, timeout=30)
        assert task.done()
        assert "injected" in str(task.exception())


async def test_a_token_that_has_expired_is_replaced_by_a_new_login_and_the_watch_goes_on(
    kube: Kube, proxy: Proxy, namespace: str, tmp_path: Path
) -> None:
    maps = source("ConfigMap", label_selector=f"run={namespace}")
    tokens = ["old"]

    async def watched() -> bool:
        return proxy.watches > 0

    async def seen() -> bool:
        return Ref(namespace, "a") in maps.cache

    async with watching(proxy, tmp_path, maps, token=lambda: tokens[-1]) as task:
        await until("the watch", watched)
        proxy.hold()
        proxy.refused = "old"
        tokens.append("new")
        proxy.release()
        await kube.create(manifest("v1", "ConfigMap", "a", namespace, labels={"run": namespace}), manager="tests")
        await until("the ConfigMap to come through the watch", seen)
        assert not task.done()
