"""What the plan is made from: budgets that cannot be honoured, and namespaces that have not been seen."""

from __future__ import annotations

from typing import Any

import pytest
from modelservice.controllers.gather import Draft, catalogue, prepare
from modelservice.controllers.world import World
from modelservice.domain.periods import Window
from modelservice.kit.clock import SystemClock

SERVICE: dict[str, Any] = {
    "apiVersion": "modelservice.dev/v1alpha1",
    "kind": "ModelService",
    "metadata": {"namespace": "ns", "name": "chat", "uid": "u", "generation": 1, "labels": {"tier": "gold"}},
    "spec": {
        "model": {"storageUri": "pvc://models/chat"},
        "inference": {"runtime": "engine", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}},
    },
}


def named(kind: str, name: str, namespace: str = "", **more: Any) -> dict[str, Any]:
    meta = {"namespace": namespace, "name": name, "uid": name, "resourceVersion": "1", **more.pop("meta", {})}
    return {"kind": kind, "metadata": meta, **more}


def budget(name: str, zone: str = "UTC", **more: Any) -> dict[str, Any]:
    period = {"calendar": "Day", "timeZone": zone}
    kind = "BudgetPolicy" if "namespace" in more else "ClusterBudgetPolicy"
    return named(kind, name, spec={"currency": "USD", "limit": "5", "period": period}, **more)


def world() -> World:
    made = World(SystemClock())
    made.caches.claims.observe(named("PersistentVolumeClaim", "models", "ns"))
    return made


def drafted(made: World) -> Draft:
    return prepare(SERVICE, made, catalogue(made), lambda _: 1)


def test_a_service_waits_until_its_namespace_has_been_seen_since_its_labels_decide_who_pays() -> None:
    made = world()
    with pytest.raises(ValueError, match="namespace ns has not been seen yet"):
        drafted(made)
    made.caches.namespaces.observe(named("Namespace", "ns", meta={"labels": {"team": "search"}}))
    origin = drafted(made).view().origin
    assert (origin.namespace, origin.namespace_labels, origin.labels) == ("ns", {"team": "search"}, {"tier": "gold"})


def runtime(name: str, priority: int, **spec: Any) -> dict[str, Any]:
    row = {"type": "CPU", "image": "engine:1"}
    formats = [{"name": "gguf", "priority": priority}]
    given = {"role": "Inference", "accelerators": [row], "supportedModelFormats": formats, **spec}
    return named("ModelRuntime", name, spec=given)


def unnamed(**status: Any) -> dict[str, Any]:
    """A service that names no runtime."""
    spec = {
        "model": {"storageUri": "pvc://models/chat.gguf"},
        "inference": {"resources": SERVICE["spec"]["inference"]["resources"]},
    }
    return {**SERVICE, "spec": spec, "status": status}


def test_a_service_without_a_runtime_gets_the_best_and_keeps_the_one_that_its_status_names() -> None:
    made = world()
    made.caches.namespaces.observe(named("Namespace", "ns"))
    made.caches.runtimes.observe(runtime("good", 5))
    made.caches.runtimes.observe(runtime("better", 6))

    def draft(**status: Any) -> Draft:
        return prepare(unnamed(**status), made, catalogue(made), lambda _: 1)

    first, kept, moved = draft(), draft(resolved={"runtime": "good"}), draft(resolved={"runtime": "gone"})
    assert [one.runtime and one.runtime.name for one in (first, kept, moved)] == ["better", "good", "better"]
    assert first.choice is not None
    assert "it has priority 6, good with 5" in first.choice.why
    made.caches.runtimes.observe(runtime("as-good", 6))
    problem = draft().problem
    assert problem is not None
    assert problem.reason == "RuntimeAmbiguous"


def test_budgets_of_both_kinds_are_listed_also_those_that_are_being_deleted() -> None:
    made = world()
    made.caches.policies.observe(budget("own", namespace="ns"))
    made.caches.cluster_policies.observe(budget("all"))
    made.caches.cluster_policies.observe(budget("going", meta={"deletionTimestamp": "2026-07-10T12:00:00Z"}))
    assert sorted(policy.name for policy in catalogue(made).policies) == ["all", "going", "ns/own"]


def test_a_budget_that_cannot_be_honoured_is_listed_without_any_money() -> None:
    made = world()
    made.caches.policies.observe(budget("lost", "Mars/Olympus", namespace="ns"))
    (policy,) = catalogue(made).policies
    assert (policy.name, policy.period) == ("ns/lost", Window(0, 1))
