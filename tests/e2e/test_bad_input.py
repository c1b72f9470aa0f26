"""What goes wrong in a real pod ends in a condition whose sentence says what to do."""

from __future__ import annotations

import json
from typing import Any

from cluster import Cluster, condition

from tests.e2e.conftest import NAMESPACE

RESOURCES = {"requests": {"cpu": "250m", "memory": "512Mi"}}


def create(cluster: Cluster, name: str, spec: dict[str, Any]) -> None:
    body = {
        "apiVersion": "modelservice.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(body))


def sentence(cluster: Cluster, name: str, kind: str, reason: str) -> str:
    """Wait until the condition is False for that reason, delete the service, return the message."""

    def seen() -> str | None:
        found = condition(cluster.get("modelservice", name, NAMESPACE), kind)
        return str(found["message"]) if (found["status"], found["reason"]) == ("False", reason) else None

    try:
        return cluster.wait(f"{kind}=False {reason} on {name}", seen, timeout=90)
    finally:
        cluster.kubectl("-n", NAMESPACE, "delete", "modelservice", name, "--wait=false")


def test_a_missing_claim_is_named_before_anything_is_spent(quickstart: Cluster) -> None:
    create(
        quickstart,
        "no-claim",
        {
            "model": {"storageUri": "pvc://nowhere/x"},
            "inference": {"runtime": "modelservice-torch", "resources": RESOURCES},
        },
    )
    assert "nowhere" in sentence(quickstart, "no-claim", "ArtifactReady", "ClaimNotFound")


def test_a_missing_path_on_a_claim_is_named(quickstart: Cluster) -> None:
    create(
        quickstart,
        "no-path",
        {
            "model": {"storageUri": "pvc://models/nothing-here"},
            "inference": {"runtime": "modelservice-torch", "resources": RESOURCES},
        },
    )
    assert "nothing-here" in sentence(quickstart, "no-path", "Available", "ModelLoadFailed")


def test_a_training_script_that_exits_1_fails_with_what_it_said(quickstart: Cluster) -> None:
    create(
        quickstart,
        "bad-script",
        {
            "training": {
                "runtime": "modelservice-torch-train",
                "command": ["python", "-c", "import sys; sys.exit('no rows in the data set')"],
                "output": {"storageUri": "pvc://models/bad-script"},
                "resourcesPerNode": RESOURCES,
                "backoffLimit": 0,
            },
            "inference": {"runtime": "modelservice-torch", "resources": RESOURCES},
        },
    )
    assert "no rows in the data set" in sentence(quickstart, "bad-script", "TrainingSucceeded", "Failed")
