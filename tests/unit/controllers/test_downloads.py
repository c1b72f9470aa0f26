"""All replicas of a service serve what the first one found at the address of its model."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from modelservice.controllers.downloads import hold_back, known, revision_for
from modelservice.controllers.gates import opening
from modelservice.controllers.gather import Draft
from modelservice.controllers.observation import pod_of
from modelservice.controllers.world import World
from modelservice.domain.planner import Plan, ServicePlan
from modelservice.domain.settlement import Funding
from modelservice.domain.snapshot import Pod
from modelservice.domain.specs import Artifact, ClaimPath, Download, Model, Service, ServiceName
from modelservice.domain.training import Published
from modelservice.kit.clock import SystemClock
from modelservice.render.labels import ARTIFACT, DIGEST, REVISION, SIZE

URI = "hf://org/tiny"
NAME = ServiceName("ns", "chat")
ARTIFACT_THERE = Artifact(Download(URI))
OLD, NEW = "a" * 40, "b" * 40
DIGESTS = {OLD: f"sha256:{'1' * 64}", NEW: f"sha256:{'2' * 64}"}


def said(**artifact: Any) -> str:
    artifact = {"path": URI, "digest": DIGESTS[OLD], "bytes": 7, "revision": OLD, **artifact}
    return json.dumps({"version": 1, "outcome": "Succeeded", "artifact": artifact})


def pod(name: str, *, minute: int = 0, uri: str = URI, gated: bool = False, revision: str = "", **meta: Any) -> Any:
    labels = {"modelservice.dev/name": "chat", "modelservice.dev/role": "Inference"}
    labels["modelservice.dev/placement"] = meta.pop("placement", "one")
    state = (
        {"terminated": {"exitCode": 0, "message": said(revision=revision, digest=DIGESTS[revision])}}
        if revision
        else {"running": {}}
    )
    created = f"2026-07-10T12:{minute:02}:00Z"
    return {
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": name,
            "resourceVersion": "7",
            "creationTimestamp": created,
            "labels": labels,
            **meta,
        },
        "spec": {
            "containers": [{"name": "main"}],
            "initContainers": [{"name": "fetch", "env": [{"name": "MODELSERVICE_STORAGE_URI", "value": uri}]}],
            "schedulingGates": [{"name": "modelservice.dev/budget"}] if gated else [],
        },
        "status": {"initContainerStatuses": [{"name": "fetch", "state": state}]},
    }


def child(name: str, *, minute: int = 0, notes: dict[str, str] | None = None) -> Any:
    annotations = {ARTIFACT: URI, **(notes or {})}
    created = f"2026-07-10T12:{minute:02}:00Z"
    meta = {"name": name, "namespace": "ns", "uid": name, "resourceVersion": "1", "creationTimestamp": created}
    return {"kind": "Deployment", "metadata": {**meta, "annotations": annotations}}


def kept(revision: str) -> dict[str, str]:
    return {REVISION: revision, DIGEST: DIGESTS[revision], SIZE: "7"}


def read(obj: Any) -> Pod:
    seen = pod_of(obj)
    assert seen is not None
    return seen


@pytest.mark.parametrize(
    ("told", "children", "pods", "revision"),
    [
        (None, [], [], ""),
        (None, [], [pod("p")], ""),
        (None, [], [pod("p", revision=OLD)], OLD),
        (None, [], [pod("late", minute=2, revision=NEW), pod("early", minute=1, revision=OLD)], OLD),
        (None, [], [pod("p", revision=NEW, deletionTimestamp="2026-07-10T12:30:00Z")], ""),
        (None, [], [pod("p", uri="hf://org/other", revision=NEW)], ""),
        (None, [child("d", notes=kept(OLD))], [pod("p", revision=NEW)], OLD),
        (None, [child("d2", minute=2, notes=kept(NEW)), child("d1", minute=1, notes=kept(OLD))], [], OLD),
        (None, [child("d", notes={**kept(OLD), ARTIFACT: "hf://org/other"})], [], ""),
        (Published(URI, DIGESTS[OLD], 7, OLD), [child("d", notes=kept(NEW))], [pod("p", revision=NEW)], OLD),
        (Published("hf://org/other", DIGESTS[OLD], 7, OLD), [], [pod("p", revision=NEW)], NEW),
    ],
)
def test_whoever_kept_to_a_revision_first_is_believed(
    told: Published | None, children: list[Any], pods: list[Any], revision: str
) -> None:
    found = known(ARTIFACT_THERE, told, children, pods)
    assert found.revision == revision
    assert (found.digest, found.size_bytes) == ((DIGESTS[revision], 7) if revision else ("", 0))


def test_an_address_that_names_a_commit_is_known_at_once_and_its_size_when_a_pod_has_told_it() -> None:
    artifact = Artifact(Download(f"hf://org/tiny@{OLD}"))
    at_once = known(artifact, None, [], [])
    assert (at_once.settled, at_once.revision, at_once.size_bytes) == (True, OLD, 0)
    told = Published(f"hf://org/tiny@{OLD}", "", 0, OLD)
    assert known(artifact, told, [], [pod("p", uri=f"hf://org/tiny@{OLD}", revision=OLD)]).size_bytes == 7
    assert not known(Artifact(Download("hf://org/tiny@abc")), None, [], []).settled
    assert not known(Artifact(Download(f"https://org/tiny/x@{OLD}")), None, [], []).settled


def test_a_model_on_a_claim_is_known_as_it_is() -> None:
    artifact = Artifact(ClaimPath("models", "m"))
    assert known(artifact, Published("pvc://models/m", DIGESTS[NEW], 7, NEW), [], [pod("p", revision=NEW)]) == artifact


@pytest.mark.parametrize("message", ["", "{", said(revision=""), said(revision="a b"), said(bytes=-1)])
def test_what_a_pod_says_is_believed_only_when_it_is_whole(message: str) -> None:
    seen = pod("p", revision=OLD)
    seen["status"]["initContainerStatuses"][0]["state"]["terminated"]["message"] = message
    assert not known(ARTIFACT_THERE, None, [], [seen]).settled


def made_plan() -> Plan:
    counts = {"chat-one": 3, "chat-old": 2}
    funding = {f"ns/{name}": Funding(count) for name, count in counts.items()}
    other = ServiceName("ns", "other")
    services = {NAME: ServicePlan(3, workload="ns/chat-one", counts=counts), other: ServicePlan(counts={"other-1": 4})}
    return Plan(services, {**funding, "ns/other-1": Funding(4)})


def held_back(*pods: Any, artifact: Artifact = ARTIFACT_THERE) -> dict[str, int]:
    world = World(SystemClock())
    for one in pods:
        world.caches.pods.observe(one)
    held = hold_back(made_plan(), [(NAME, artifact)], world)
    counts = {name: grant.count for name, grant in held.funding.items()}
    assert counts == {f"ns/{name}": count for plan in held.services.values() for name, count in plan.counts.items()}
    return counts


def test_until_the_model_is_known_one_pod_starts_and_other_placements_keep_theirs() -> None:
    assert held_back() == {"ns/chat-one": 1, "ns/chat-old": 2, "ns/other-1": 4}
    assert held_back(pod("a"), pod("b", gated=True))["ns/chat-one"] == 1
    assert held_back(pod("a"), pod("b"))["ns/chat-one"] == 2, "what was started stays"


def test_one_pod_of_all_placements_finds_out_what_lies_there() -> None:
    assert held_back(pod("a", placement="old")) == {"ns/chat-one": 0, "ns/chat-old": 1, "ns/other-1": 4}
    assert held_back(pod("a", placement="old", uri="hf://org/other"))["ns/chat-one"] == 1
    assert held_back(pod("a", placement="old", deletionTimestamp="2026-07-10T12:30:00Z"))["ns/chat-one"] == 1


def test_what_serves_another_model_keeps_its_replicas_while_the_next_revision_finds_out() -> None:
    made = made_plan()
    plan = replace(made.services[NAME], workload="ns/chat-old", tried="ns/chat-one")
    held = hold_back(Plan({NAME: plan}, made.funding), [(NAME, ARTIFACT_THERE)], World(SystemClock()), {NAME})
    assert held.services[NAME].counts == {"chat-one": 1, "chat-old": 2}


@pytest.mark.parametrize("artifact", [replace(ARTIFACT_THERE, revision=OLD), Artifact(ClaimPath("models", "m"))])
def test_nobody_waits_for_what_is_known(artifact: Artifact) -> None:
    assert held_back(artifact=artifact) == {"ns/chat-one": 3, "ns/chat-old": 2, "ns/other-1": 4}


def test_a_pod_keeps_to_what_its_deployment_says_and_before_that_to_what_was_found() -> None:
    world, gated = World(SystemClock()), read(pod("p", gated=True))
    assert revision_for(gated, world) == ""
    world.caches.deployments.observe(child("chat-one"))
    assert revision_for(gated, world) == ""
    service = Service(NAME, "u", 1, False, Model(Download(URI)), None, None)
    world.drafts = {NAME: Draft(service, artifact=replace(ARTIFACT_THERE, revision=NEW))}
    assert revision_for(gated, world) == NEW
    world.drafts = {NAME: Draft(service, artifact=Artifact(Download("hf://org/other"), revision=NEW))}
    assert revision_for(gated, world) == "", "the model of another revision of the service"
    later = child("chat-one", notes=kept(OLD))
    later["metadata"]["resourceVersion"] = "2"
    world.caches.deployments.observe(later)
    assert revision_for(gated, world) == OLD


@pytest.mark.parametrize("annotations", [None, {"prometheus.io/scrape": "true"}])
def test_a_gate_goes_and_the_revision_comes_in_one_patch(annotations: dict[str, str] | None) -> None:
    obj = pod("p", gated=True)
    obj["metadata"]["annotations"] = annotations
    operations = opening(obj, {REVISION: OLD})
    assert operations[0] == {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}
    made = [one["path"] for one in operations if one["op"] == "add"]
    added = "/metadata/annotations/modelservice.dev~1model-revision"
    assert made == ([added] if annotations else ["/metadata/annotations", added])
    assert operations[-1] == {"op": "remove", "path": "/spec/schedulingGates/0"}
    assert [one["op"] for one in opening(obj, {})] == ["test", "test", "remove"]
