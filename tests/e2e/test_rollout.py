"""Revisions under load, with real pods, a real gateway and a real Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import REPO, SYSTEM, Cluster, condition

NAMESPACE = "rollout"
PODS = Path(__file__).with_name("pods")
OURS = "modelservice.dev/v1alpha1"
GATEWAY = f"http://modelservice-gateway.{SYSTEM}/{NAMESPACE}/chat"
SENDERS = ("direct", "through")
SCRIPTS = {"name": "scripts", "configMap": {"name": "scripts"}}
RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def manifest(api_version: str, kind: str, name: str, **body: Any) -> dict[str, Any]:
    meta = (
        {"name": name}
        if kind in ("Namespace", "ComputePool", "ModelRuntime")
        else {
            "name": name,
            "namespace": NAMESPACE,
        }
    )
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **body}


def service(hold: str, **rollout: Any) -> dict[str, Any]:
    inference = {
        "runtime": "stub-engine",
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
        "placement": {"pools": ["rollout"]},
        "volumes": [{**SCRIPTS, "mountPath": "/scripts"}],
        "env": [{"name": "HOLD_SECONDS", "value": hold}],
        "minReplicas": 2,
        "rollout": rollout,
    }
    return manifest(
        OURS, "ModelService", "chat", spec={"model": {"storageUri": "pvc://models/m"}, "inference": inference}
    )


def sender(name: str, url: str) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": "python:3.11",
        "command": ["python", "/scripts/senders.py", f"{url}/v2/models/chat/infer", "4"],
        "volumeMounts": [{"name": "scripts", "mountPath": "/scripts"}],
        "securityContext": RESTRICTED,
    }
    return manifest("v1", "Pod", name, spec={"containers": [container], "volumes": [SCRIPTS]})


@pytest.fixture
def chat(cluster: Cluster) -> Iterator[Cluster]:
    """A service with two replicas, and a sender that reaches it by its Service and one by the gateway."""
    engine = {"type": "CPU", "image": "python:3.11", "command": ["python"], "args": ["/scripts/engine.py"]}
    pool = {
        "currency": "USD",
        "accelerator": {"type": "CPU"},
        "node": {"cpu": "2", "memory": "4Gi"},
        "nodeSelector": {"pool": "cpu"},
        "tolerations": [{"key": "modelservice.dev/pool", "operator": "Exists"}],
        "purchaseOptions": [{"type": "OnDemand", "perNodeHour": "1.00"}],
        "billing": {"from": "Running", "stopSeconds": 60},
        "startSeconds": 60,
    }
    storage = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    scripts = {path.name: path.read_text() for path in PODS.glob("*.py")}
    for made in (
        manifest("v1", "Namespace", NAMESPACE),
        manifest("v1", "ConfigMap", "scripts", data=scripts),
        manifest("v1", "PersistentVolumeClaim", "models", spec=storage),
        manifest(OURS, "ComputePool", "rollout", spec=pool),
        manifest(OURS, "ModelRuntime", "stub-engine", spec={"role": "Inference", "accelerators": [engine]}),
        service("0.05"),
        sender("direct", f"http://chat.{NAMESPACE}"),
        sender("through", GATEWAY),
    ):
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps(made))
    yield cluster
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    cluster.kubectl("delete", "computepool/rollout", "modelruntime/stub-engine", "--wait=false")


def sent(cluster: Cluster, name: str) -> dict[str, Any]:
    lines = cluster.kubectl("-n", NAMESPACE, "logs", name, "--tail=1", check=False).strip()
    seen: dict[str, Any] = json.loads(lines) if lines.startswith("{") else {"sent": 0, "failed": 0, "last": ""}
    return seen


def found(cluster: Cluster) -> dict[str, Any]:
    return cluster.get("modelservice", "chat", NAMESPACE) or {}


def holds(cluster: Cluster) -> set[str]:
    """HOLD_SECONDS of the pods that are there to stay."""
    pods = cluster.list("pods", NAMESPACE, "modelservice.dev/name=chat")
    env = [p["spec"]["containers"][0]["env"] for p in pods if "deletionTimestamp" not in p["metadata"]]
    return {one["value"] for variables in env for one in variables if one["name"] == "HOLD_SECONDS"}


def serves(cluster: Cluster, hold: str) -> bool:
    status = found(cluster).get("status") or {}
    settled = condition(found(cluster), "Progressing")["reason"] == "RolloutComplete"
    own = (status.get("resolved") or {}).get("revision")
    proved = (own, "Serving") in [(row["revision"], row["stage"]) for row in status.get("revisions") or ()]
    return settled and proved and holds(cluster) == {hold} and status.get("readyReplicas") == 2


def command(cluster: Cluster, action: str) -> str:
    """What `modelservice rollout` says."""
    return cluster.run(REPO / ".venv/bin/modelservice", "rollout", action, "chat", "-n", NAMESPACE)


def test_a_rolling_update_loses_no_request_and_a_canary_that_is_twice_as_slow_is_taken_back_by_itself(
    chat: Cluster,
) -> None:
    chat.wait("two replicas", lambda: serves(chat, "0.05"), timeout=180)
    chat.wait("requests", lambda: all(sent(chat, name)["sent"] > 100 for name in SENDERS))
    start = {name: sent(chat, name) for name in SENDERS}

    chat.kubectl("apply", "-f", "-", stdin=json.dumps(service("0.06")))
    chat.wait("the new replicas alone", lambda: serves(chat, "0.06"), timeout=180)
    for name, early in start.items():
        later = sent(chat, name)
        assert later["sent"] > early["sent"] + 50
        assert later["failed"] == early["failed"], f"{name}: {later}"

    stable = next(row for row in found(chat)["status"]["revisions"] if row["stage"] == "Serving")
    start = {name: sent(chat, name) for name in SENDERS}
    canary = {"canary": {"stepPercent": 40, "stepPeriodSeconds": 300}}
    chat.kubectl("apply", "-f", "-", stdin=json.dumps(service("0.12", **canary)))
    chat.wait("a share for the canary", lambda: (found(chat)["status"].get("canary") or {}).get("percent"), timeout=120)

    def rolled_back() -> str:
        seen = condition(found(chat), "Progressing")
        return str(seen["message"]) if seen["reason"] == "RolledBack" else ""

    message = chat.wait("the canary to be taken back", rolled_back, timeout=120)
    assert "took longer than" in message
    chat.wait("only replicas that serve", lambda: holds(chat) == {"0.06"})
    status = found(chat)["status"]
    assert "canary" not in status
    assert {row["revision"]: row["stage"] for row in status["revisions"]}[stable["revision"]] == "Serving"
    for name, early in start.items():
        later = sent(chat, name)
        assert later["failed"] == early["failed"], f"{name}: {later}"

    assert "RolledBack" in command(chat, "history")
    assert "will serve in place of" in command(chat, "undo")
    chat.wait("the first replicas again", lambda: holds(chat) == {"0.05"}, timeout=120)
    chat.wait("the end of the undo", lambda: condition(found(chat), "Progressing")["reason"] == "Undone")
    assert "Serving" in command(chat, "status")
