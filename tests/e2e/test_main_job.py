"""The main job through `helm install` and `kubectl apply`, while the operator is lost and replaced."""

from __future__ import annotations

import json
import math
from typing import Any

from cluster import SYSTEM, Cluster, condition, is_true

from tests.e2e.conftest import NAMESPACE

INFERENCE = "modelservice.dev/name=autoencoder,modelservice.dev/role=Inference"
TRAINING = "modelservice.dev/name=autoencoder,modelservice.dev/role=Training"
OPERATOR = "app.kubernetes.io/name=modelservice"


def service(cluster: Cluster) -> dict[str, Any]:
    found = cluster.get("modelservice", "autoencoder", NAMESPACE)
    assert found is not None
    return found


def ready(cluster: Cluster) -> int:
    return int(service(cluster)["status"].get("readyReplicas") or 0)


def uids(cluster: Cluster, selector: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in cluster.list("pods", NAMESPACE, selector)}


def operator_pods(cluster: Cluster) -> set[str]:
    pods = cluster.list("pods", SYSTEM, OPERATOR)
    return {pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}


def infer(cluster: Cluster) -> list[float]:
    body = {"inputs": [{"name": "input", "shape": [2, 10], "datatype": "FP32", "data": [0.1] * 20}]}
    answer = cluster.post(NAMESPACE, "autoencoder", "/v2/models/autoencoder/infer", body)
    data: list[float] = answer["outputs"][0]["data"]
    return data


def test_one_object_trains_a_model_and_then_serves_what_it_trained(quickstart: Cluster) -> None:
    training = service(quickstart)["status"]["training"]
    assert abs(float(training["metrics"]["loss"]) - 0.037) <= 0.2 * 0.037
    assert training["artifact"]["digest"].startswith("sha256:")
    answer = infer(quickstart)
    assert len(answer) == 20
    assert all(math.isfinite(value) for value in answer)


def test_a_finished_run_is_not_run_again_by_a_new_operator(quickstart: Cluster) -> None:
    before = uids(quickstart, TRAINING)
    old = operator_pods(quickstart)
    quickstart.kubectl("-n", SYSTEM, "delete", "pod", *old, "--wait=false")
    quickstart.wait("another operator pod", lambda: operator_pods(quickstart) - old)
    quickstart.kubectl("-n", SYSTEM, "rollout", "status", "deployment/modelservice", "--timeout=90s")
    quickstart.kubectl("-n", NAMESPACE, "annotate", "modelservice", "autoencoder", "touched=yes", "--overwrite")
    quickstart.wait("the service to be ready still", lambda: is_true(service(quickstart), "Ready"))
    assert uids(quickstart, TRAINING) == before
    assert len(quickstart.list("jobs", NAMESPACE, "modelservice.dev/name=autoencoder")) == 1


def test_load_scales_to_three_the_budget_refuses_a_fourth_and_nothing_fails_while_the_operator_is_lost(
    quickstart: Cluster,
) -> None:
    quickstart.kubectl("apply", "-f", "examples/quickstart/load-job.yaml")
    quickstart.wait("the third replica", lambda: ready(quickstart) >= 3, timeout=150)

    def refusal() -> dict[str, Any] | None:
        seen = service(quickstart)["status"].get("refusal") or {}
        return seen if seen.get("blockedBy") == "Rate" else None

    seen = quickstart.wait("the refusal", refusal, timeout=60)
    assert float(seen["need"]) > float(seen["have"])
    assert condition(service(quickstart), "BudgetAdmitted")["message"]
    assert len(uids(quickstart, INFERENCE)) == 3

    quickstart.kubectl("-n", SYSTEM, "delete", "pod", *operator_pods(quickstart), "--wait=false")

    def done() -> bool:
        status = (quickstart.get("job", "load", NAMESPACE) or {}).get("status") or {}
        assert not status.get("failed"), quickstart.kubectl("-n", NAMESPACE, "logs", "job/load", "--tail=5")
        return bool(status.get("succeeded"))

    quickstart.wait("the load to end", done, timeout=180)
    figures = json.loads(quickstart.kubectl("-n", NAMESPACE, "logs", "job/load", "--tail=1"))
    assert figures["errors"] == 0
    assert figures["requests"] > 500
    quickstart.wait("one replica again", lambda: len(uids(quickstart, INFERENCE)) == 1, timeout=120)
    assert infer(quickstart)


def test_a_helm_upgrade_with_another_operator_image_leaves_every_model_pod_alone(quickstart: Cluster) -> None:
    before, old = uids(quickstart, INFERENCE), operator_pods(quickstart)
    quickstart.install("image.tag=0.1.0-next", "logLevel=DEBUG")
    quickstart.wait("the new operator pods only", lambda: not (operator_pods(quickstart) & old), timeout=90)
    quickstart.kubectl("-n", NAMESPACE, "annotate", "modelservice", "autoencoder", "touched=again", "--overwrite")
    seen = quickstart.wait(
        "one more tick of the book", lambda: service(quickstart) if is_true(service(quickstart), "Ready") else None
    )
    assert seen
    assert uids(quickstart, INFERENCE) == before
