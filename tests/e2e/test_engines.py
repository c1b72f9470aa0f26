"""Engines of others through the operator: chosen by format, spoken to by OpenAI's client, scaled by their own metrics.

llama.cpp is its own server; vLLM is a fake with its command line and the names of its metrics, new and old.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from cluster import REPO, Cluster, condition, is_true

NAMESPACE = "engines"
LLAMA = "ghcr.io/ggml-org/llama.cpp:server-b9603"
VLLM = "vllm/vllm-openai:v0.33.0"
WORKER = "modelservice-worker:0.1.0"
GPUS = {
    "currency": "USD",
    "accelerator": {"type": "GPU", "model": "pretended", "resourceName": "nvidia.com/gpu"},
    "node": {"devices": 4, "cpu": "8", "memory": "16Gi"},
    "nodeSelector": {"pool": "gpu"},
    "tolerations": [{"key": "modelservice.dev/pool", "operator": "Equal", "value": "gpu", "effect": "NoExecute"}],
    "purchaseOptions": [{"type": "OnDemand", "perNodeHour": "1.00"}],
    "startSeconds": 30,
}
CLAIM = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}


def apply(
    cluster: Cluster, kind: str, name: str, spec: dict[str, Any], version: str = "modelservice.dev/v1alpha1"
) -> None:
    meta = {"name": name, **({} if kind == "ComputePool" else {"namespace": NAMESPACE})}
    written = {"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(written))


def run(cluster: Cluster, name: str, image: str, program: str, *args: str) -> None:
    """Start a Job that runs a program of this directory once, with the models at /models."""
    container = {
        "name": "main",
        "image": image,
        "command": ["python", str(REPO / "tests/e2e" / program), *args],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        "volumeMounts": [{"name": "models", "mountPath": "/models"}],
    }
    pod = {
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "fsGroup": 65532},
        "containers": [container],
        "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}],
    }
    apply(cluster, "Job", name, {"backoffLimit": 0, "template": {"spec": pod}}, "batch/v1")


def said(cluster: Cluster, name: str) -> list[str]:
    """Wait for the end of a Job; the lines that it printed."""

    def over() -> bool:
        status = (cluster.get("job", name, NAMESPACE) or {}).get("status") or {}
        assert not status.get("failed"), cluster.kubectl("-n", NAMESPACE, "logs", f"job/{name}", "--tail=5")
        return bool(status.get("succeeded"))

    cluster.wait(f"the end of {name}", over, timeout=90)
    return cluster.kubectl("-n", NAMESPACE, "logs", f"job/{name}").splitlines()


def service(cluster: Cluster, name: str) -> dict[str, Any]:
    return cluster.get("modelservice", name, NAMESPACE) or {}


def serves(cluster: Cluster, name: str) -> bool:
    return is_true(service(cluster, name), "Ready")


@pytest.fixture(scope="module")
def engines(cluster: Cluster) -> Iterator[Cluster]:
    """A model on a claim that llama.cpp serves and two versions of vLLM do as if they did, and load on all of them."""
    cluster.kubectl("apply", "-f", "examples/quickstart/pool.yaml")
    apply(cluster, "ComputePool", "gpu", GPUS)
    cluster.kubectl("create", "namespace", NAMESPACE)
    apply(cluster, "PersistentVolumeClaim", "models", CLAIM, "v1")
    run(cluster, "write", LLAMA, "tinymodel.py", "/models/tiny.gguf")
    said(cluster, "write")
    common = {
        "resources": {"requests": {"cpu": "500m", "memory": "256Mi"}},
        "maxReplicas": 2,
        "scaling": {"scaleMetric": "Concurrency", "scaleTarget": 4},
    }
    gpu = {"placement": {"accelerators": ["GPU"]}, "modelFormat": "huggingface", **common}
    old = {"env": [{"name": "FAKE_VLLM_METRICS", "value": "old"}], **gpu}
    services = {"llama": {"placement": {"pools": ["cpu"]}, **common}, "vllm": gpu, "vllm-old": old}
    for name, spec in services.items():
        apply(cluster, "ModelService", name, {"model": {"storageUri": "pvc://models/tiny.gguf"}, "inference": spec})
    for name in services:
        cluster.wait(f"{name} to serve", partial(serves, cluster, name), timeout=90)
        run(cluster, f"chat-{name}", WORKER, "chat.py", f"http://{name}.{NAMESPACE}", name, "15")
    yield cluster
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("name", "runtime", "image", "why"),
    [
        ("llama", "llamacpp", LLAMA, "llamacpp serves gguf (the end of pvc://models/tiny.gguf) on CPU."),
        ("vllm", "vllm", VLLM, "vllm serves huggingface (inference.modelFormat) on GPU."),
        ("vllm-old", "vllm", VLLM, "vllm serves huggingface (inference.modelFormat) on GPU."),
    ],
)
def test_an_engine_is_chosen_answers_openais_client_and_is_scaled_by_what_its_own_metrics_say(
    engines: Cluster, name: str, runtime: str, image: str, why: str
) -> None:
    resolved = service(engines, name)["status"]["resolved"]
    assert (resolved["runtime"], resolved["image"], resolved["runtimeReason"]) == (runtime, image, why)
    engines.wait("a second replica", lambda: service(engines, name)["status"]["desiredReplicas"] == 2, timeout=60)
    assert condition(service(engines, name), "ScalingActive")["reason"] == "MetricsRead"
    first, last = map(json.loads, said(engines, f"chat-{name}"))
    assert first["models"] == [name]
    assert first["finish"] in {"length", "stop"}  # a model without sense may end by itself
    assert first["chunks"] > 3
    assert first["text"]
    assert last["answers"] > 8
