"""A model of a hub: downloaded, shown, served, the same for every replica, and refused when it is not what it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cluster import Cluster, condition, is_true

from tests.e2e.conftest import NAMESPACE
from tests.e2e.hub import URI, manifests
from tests.e2e.test_bad_input import create, sentence
from tests.unit.workers.webservers import COMMIT

RESOURCES = {"requests": {"cpu": "250m", "memory": "512Mi"}}
INFERENCE = {"runtime": "modelservice-torch", "resources": RESOURCES}
MODEL = {"storageUri": URI, "secretRef": {"name": "hub"}}
PODS = "modelservice.dev/name=fetched,modelservice.dev/role=Inference"


@pytest.fixture
def served(quickstart: Cluster) -> Iterator[Cluster]:
    """The quick start, and what it trained on a hub of its own."""
    found = quickstart.get("modelservice", "autoencoder", NAMESPACE) or {}
    directory = found["status"]["training"]["artifact"]["path"].replace("pvc://", "/")
    parts = manifests(NAMESPACE, directory, "models")
    quickstart.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": parts}))
    try:
        quickstart.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/hub", "--timeout=60s")
        yield quickstart
    finally:
        quickstart.kubectl("-n", NAMESPACE, "delete", "modelservice/fetched", "--ignore-not-found", "--wait=false")
        quickstart.kubectl("-n", NAMESPACE, "delete", "deployment/hub", "service/hub", "secret/hub", "--wait=false")


def status(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = (cluster.get("modelservice", "fetched", NAMESPACE) or {}).get("status") or {}
    return found


def infer(cluster: Cluster, name: str) -> list[float]:
    body = {"inputs": [{"name": "input", "shape": [1, 10], "datatype": "FP32", "data": [0.1] * 10}]}
    data: list[float] = cluster.post(NAMESPACE, name, f"/v2/models/{name}/infer", body)["outputs"][0]["data"]
    return data


def downloads(cluster: Cluster) -> dict[str, Any] | None:
    shown = (status(cluster).get("model") or {}).get("download")
    message = condition(cluster.get("modelservice", "fetched", NAMESPACE), "Ready")
    return shown if shown and (message["reason"], "% of" in message["message"]) == ("Downloading", True) else None


def test_a_model_of_a_hub_is_downloaded_with_its_secret_and_every_replica_keeps_to_what_the_first_one_found(
    served: Cluster,
) -> None:
    create(served, "fetched", {"model": MODEL, "inference": {**INFERENCE, "minReplicas": 1}})
    shown = served.wait("the progress of the download", lambda: downloads(served), timeout=90)
    assert 0 <= shown["percent"] < 100
    assert 0 < shown["doneBytes"] < shown["totalBytes"]
    served.post(NAMESPACE, "hub", "/-/release", {})
    served.wait("the service to serve", lambda: is_true(served.get("modelservice", "fetched", NAMESPACE), "Ready"))
    assert infer(served, "fetched") == pytest.approx(infer(served, "autoencoder"), abs=1e-5)
    model = status(served)["model"]
    assert (model["uri"], model["revision"]) == (URI, COMMIT)
    assert model["bytes"] == shown["totalBytes"]
    assert "download" not in model

    served.post(NAMESPACE, "hub", "/-/move", {})
    more = json.dumps({"spec": {"inference": {"minReplicas": 2}}})
    served.kubectl("-n", NAMESPACE, "patch", "modelservice", "fetched", "--type=merge", "-p", more)
    served.wait("the second replica", lambda: status(served).get("readyReplicas") == 2)
    pods = served.list("pods", NAMESPACE, PODS)
    said = [json.loads(pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["message"]) for pod in pods]
    assert [one["artifact"]["revision"] for one in said] == [COMMIT, COMMIT]
    kept = "modelservice.dev/model-revision"
    assert sorted(pod["metadata"]["annotations"].get(kept, "") for pod in pods) == ["", COMMIT]

    served.post(NAMESPACE, "hub", "/-/tamper", {})
    pinned = {**MODEL, "storageUri": f"{URI}@{COMMIT}"}
    create(served, "tampered", {"model": pinned, "inference": INFERENCE})
    assert "model.pt2 has the digest" in sentence(served, "tampered", "Available", "DownloadFailed")
