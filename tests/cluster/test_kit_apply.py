"""The child applier, the status writer and the client's preconditions against a real API server."""

from __future__ import annotations

import time
from typing import Any

import pytest
from cluster import Cluster
from modelservice.adapters.kube import Kube
from modelservice.kit.apply import ChildApplier, NameConflict
from modelservice.kit.errors import Conflict, Invalid, NotFound
from modelservice.kit.objects import annotation_of
from modelservice.kit.status import StatusWriter

from tests.cluster.conftest import manifest, until

HASH = "modelservice.dev/applied-hash"
LABELS = {"app": "a"}


def deployment(namespace: str, owner: str, *, replicas: int = 2, image: str = "one:1") -> dict[str, Any]:
    pod = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "main", "image": image}]}}
    return manifest(
        "apps/v1",
        "Deployment",
        "child",
        namespace,
        labels=LABELS,
        ownerReferences=[{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner, "controller": True}],
        spec={"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": pod},
    )


def service(namespace: str, owner: str) -> dict[str, Any]:
    child = deployment(namespace, owner)
    spec = {"selector": LABELS, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    return {**child, "apiVersion": "v1", "kind": "Service", "spec": spec}


@pytest.fixture
async def owner(kube: Kube, namespace: str) -> str:
    made = await kube.create(manifest("v1", "ConfigMap", "owner", namespace), manager="tests")
    return str(made.object["metadata"]["uid"])


@pytest.fixture
def applier(kube: Kube) -> ChildApplier:
    return ChildApplier(kube, manager="modelservice", annotation=HASH)


async def live(kube: Kube, child: dict[str, Any]) -> dict[str, Any]:
    meta = child["metadata"]
    return (await kube.get(child["kind"], meta["namespace"], meta["name"])).object


async def settled(kube: Kube, child: dict[str, Any]) -> dict[str, Any]:
    """The Deployment once its own controller has said all that it can say without a node."""

    async def look() -> dict[str, Any] | None:
        seen = await live(kube, child)
        status, wanted = seen["status"], seen["spec"]["replicas"]
        told = status.get("observedGeneration") == seen["metadata"]["generation"] and status.get("conditions")
        return seen if told and status.get("unavailableReplicas") == status.get("updatedReplicas") == wanted else None

    seen = await until("the Deployment controller to have seen the child", look)
    assert seen is not None
    return seen


async def test_a_child_at_rest_is_sent_once_and_never_again(
    kube: Kube, namespace: str, owner: str, applier: ChildApplier
) -> None:
    wanted = deployment(namespace, owner)
    stored = await applier.apply(wanted, None)
    assert annotation_of(stored, HASH)
    current = await settled(kube, wanted)
    for _ in range(3):
        assert await applier.apply(wanted, current) is current
    assert (await live(kube, wanted))["metadata"]["resourceVersion"] == current["metadata"]["resourceVersion"]


async def test_a_kubectl_scale_of_a_child_is_undone(
    cluster: Cluster, kube: Kube, namespace: str, owner: str, applier: ChildApplier
) -> None:
    wanted = deployment(namespace, owner, replicas=2)
    await applier.apply(wanted, None)
    cluster.kubectl("scale", "-n", namespace, "deployment/child", "--replicas=10")
    current = await live(kube, wanted)
    assert current["spec"]["replicas"] == 10
    stored = await applier.apply(wanted, current)
    assert stored["spec"]["replicas"] == 2
    current = await settled(kube, wanted)
    assert await applier.apply(wanted, current) is current


async def test_an_edit_of_the_pod_template_by_somebody_else_is_undone(
    cluster: Cluster, kube: Kube, namespace: str, owner: str, applier: ChildApplier
) -> None:
    wanted = deployment(namespace, owner)
    await applier.apply(wanted, None)
    cluster.kubectl("set", "image", "-n", namespace, "deployment/child", "main=other:2")
    stored = await applier.apply(wanted, await live(kube, wanted))
    assert stored["spec"]["template"]["spec"]["containers"][0]["image"] == "one:1"


async def test_a_field_that_is_not_rendered_any_more_goes_and_a_field_of_somebody_else_stays(
    cluster: Cluster, kube: Kube, namespace: str, owner: str, applier: ChildApplier
) -> None:
    before = deployment(namespace, owner)
    before["spec"]["minReadySeconds"] = 7
    await applier.apply(before, None)
    cluster.kubectl("annotate", "-n", namespace, "deployment/child", "team=red")
    stored = await applier.apply(deployment(namespace, owner), await live(kube, before))
    assert stored["spec"].get("minReadySeconds", 0) == 0
    assert annotation_of(stored, "team") == "red"


async def test_after_a_restart_a_child_is_sent_once_without_any_change_on_the_server(
    kube: Kube, namespace: str, owner: str, applier: ChildApplier
) -> None:
    for wanted in (deployment(namespace, owner), service(namespace, owner)):
        await applier.apply(wanted, None)
        current = await (settled if wanted["kind"] == "Deployment" else live)(kube, wanted)
        reborn = ChildApplier(kube, manager="modelservice", annotation=HASH)
        stored = await reborn.apply(wanted, current)
        assert stored is not current
        assert stored["metadata"]["resourceVersion"] == current["metadata"]["resourceVersion"]
        assert await reborn.apply(wanted, stored) is stored


async def test_an_edit_of_a_kind_without_generation_is_undone_too(
    cluster: Cluster, kube: Kube, namespace: str, owner: str, applier: ChildApplier
) -> None:
    wanted = service(namespace, owner)
    stored = await applier.apply(wanted, None)
    assert "generation" not in stored["metadata"]
    assert await applier.apply(wanted, stored) is stored
    patch = '[{"op":"replace","path":"/spec/ports/0/targetPort","value":9999}]'
    cluster.kubectl("patch", "-n", namespace, "service/child", "--type=json", "-p", patch)
    stored = await applier.apply(wanted, await live(kube, wanted))
    assert stored["spec"]["ports"][0]["targetPort"] == 8080
    assert await applier.apply(wanted, stored) is stored


async def test_a_foreign_object_of_the_childs_name_is_left_alone_and_named(
    kube: Kube, namespace: str, owner: str, applier: ChildApplier
) -> None:
    foreign = deployment(namespace, owner)
    del foreign["metadata"]["ownerReferences"]
    await kube.create(foreign, manager="somebody")
    current = await settled(kube, foreign)
    for seen in (None, current):
        with pytest.raises(NameConflict, match=f"The name of the Deployment child in namespace {namespace} is taken"):
            await applier.apply(deployment(namespace, owner, image="two:2"), seen)
    assert (await live(kube, foreign))["metadata"]["resourceVersion"] == current["metadata"]["resourceVersion"]


async def test_a_child_of_another_owner_is_left_alone_and_its_owner_is_named(
    kube: Kube, namespace: str, owner: str, applier: ChildApplier
) -> None:
    await applier.apply(deployment(namespace, owner), None)
    other = deployment(namespace, "00000000-0000-0000-0000-000000000000")
    with pytest.raises(NameConflict, match="ConfigMap owner"):
        await applier.apply(other, None)


async def test_a_child_that_was_made_anew_is_not_taken_for_the_one_in_the_cache(
    kube: Kube, namespace: str, owner: str, applier: ChildApplier
) -> None:
    stale = await applier.apply(deployment(namespace, owner), None)
    await kube.delete("Deployment", namespace, "child", uid=stale["metadata"]["uid"])
    anew = await applier.apply(deployment(namespace, owner), None)
    assert anew["metadata"]["uid"] != stale["metadata"]["uid"]
    with pytest.raises(Conflict):
        await applier.apply(deployment(namespace, owner, replicas=5), stale)


async def test_a_status_is_put_once_and_refused_when_the_object_has_moved(kube: Kube, namespace: str) -> None:
    spec = {"currency": "USD", "limit": "5", "period": {"calendar": "Day", "timeZone": "Etc/UTC"}}
    policy = manifest("modelservice.dev/v1alpha1", "BudgetPolicy", "team", namespace, spec=spec)
    observed = (await kube.create(policy, manager="tests")).object
    writer = StatusWriter(kube, manager="modelservice-status")
    ready = {"type": "Ready", "status": "True", "reason": "Open", "message": "All is well.", "observedGeneration": 1}
    said = {"observedGeneration": 1, "conditions": [ready], "spent": "1.5"}

    first = await writer.write(observed, said, now=1_800_000_000)
    assert first["status"]["conditions"] == [{**ready, "lastTransitionTime": "2027-01-15T08:00:00Z"}]
    assert first["spec"] == observed["spec"]
    assert await writer.write(first, said, now=1_800_009_999) is first

    second = await writer.write(first, {**said, "spent": "2"}, now=1_800_009_999)
    assert second["status"]["conditions"] == first["status"]["conditions"]
    managers = {entry["manager"] for entry in second["metadata"]["managedFields"] if entry.get("subresource")}
    assert managers == {"modelservice-status"}
    with pytest.raises(Conflict) as caught:
        await writer.write(first, {**said, "spent": "3"}, now=1_800_009_999)
    assert not caught.value.already_exists


async def test_a_delete_is_refused_unless_it_is_the_very_object_and_version(
    kube: Kube, namespace: str, owner: str
) -> None:
    old = (await kube.get("ConfigMap", namespace, "owner")).object["metadata"]
    operations = [{"op": "add", "path": "/data", "value": {"x": "1"}}]
    new = (await kube.patch_json("ConfigMap", namespace, "owner", operations, manager="tests")).object["metadata"]
    with pytest.raises(Conflict):
        await kube.delete("ConfigMap", namespace, "owner", uid="00000000-0000-0000-0000-000000000000")
    with pytest.raises(Conflict):
        await kube.delete("ConfigMap", namespace, "owner", uid=old["uid"], resource_version=old["resourceVersion"])
    await kube.delete("ConfigMap", namespace, "owner", uid=new["uid"], resource_version=new["resourceVersion"])
    with pytest.raises(NotFound):
        await kube.get("ConfigMap", namespace, "owner")


async def test_every_answer_carries_the_servers_clock(kube: Kube, namespace: str, owner: str) -> None:
    before = int(time.time())
    read = await kube.get("ConfigMap", namespace, "owner")
    listed = await kube.list("ConfigMap", namespace=namespace, chunk=1)
    put = await kube.replace({**read.object, "data": {"x": "1"}}, manager="tests")
    after = int(time.time()) + 1
    assert before <= read.date <= listed.date <= put.date <= after


async def test_a_list_in_pages_is_whole_and_its_items_say_what_they_are(kube: Kube, namespace: str) -> None:
    for number in range(7):
        await kube.create(manifest("v1", "ConfigMap", f"m{number}", namespace, labels={"n": str(number)}), manager="t")
    listed = await kube.list("ConfigMap", namespace=namespace, label_selector="n", chunk=2)
    assert [item["metadata"]["name"] for item in listed.items] == [f"m{n}" for n in range(7)]
    assert {(item["apiVersion"], item["kind"]) for item in listed.items} == {("v1", "ConfigMap")}
    assert int(listed.resource_version) >= max(int(item["metadata"]["resourceVersion"]) for item in listed.items)
    chosen = await kube.list("ConfigMap", namespace=namespace, field_selector="metadata.name=m3")
    assert [item["metadata"]["name"] for item in chosen.items] == ["m3"]


async def test_refusals_of_the_server_keep_their_kind_and_their_sentence(kube: Kube, namespace: str) -> None:
    await kube.create(manifest("v1", "ConfigMap", "m", namespace), manager="tests")
    with pytest.raises(Conflict) as taken:
        await kube.create(manifest("v1", "ConfigMap", "m", namespace), manager="tests")
    assert taken.value.already_exists
    with pytest.raises(Invalid, match="Unsupported value"):
        await kube.create(manifest("v1", "Service", "s", namespace, spec={"type": "Odd"}), manager="tests")
    with pytest.raises(Invalid):
        await kube.patch_json(
            "ConfigMap", namespace, "m", [{"op": "test", "path": "/metadata/name", "value": "x"}], manager="tests"
        )
    with pytest.raises(NotFound, match='namespaces "no-such" not found'):
        await kube.create(manifest("v1", "ConfigMap", "m", "no-such"), manager="tests")
