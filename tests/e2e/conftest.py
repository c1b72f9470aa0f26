"""One localcluster with Prometheus, the chart and the quick start on it, shared by the end-to-end tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import REPO, Cluster, condition, is_true

NAMESPACE = "quickstart"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    directory = Path(tempfile.mkdtemp(prefix="ms-e2e-"))
    cluster = Cluster(directory, port=0)
    try:
        cluster.up()
        cluster.kubectl("apply", "-f", "examples/monitoring/prometheus.yaml")
        cluster.install()
        cluster.kubectl("-n", "monitoring", "rollout", "status", "deployment/prometheus", "--timeout=60s")
        yield cluster
    finally:
        logs = REPO / ".local" / "logs" / "e2e"
        shutil.rmtree(logs, ignore_errors=True)
        shutil.copytree(directory / "logs", logs, dirs_exist_ok=True) if (directory / "logs").is_dir() else None
        cluster.down("--purge")
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def quickstart(cluster: Cluster) -> Cluster:
    """The quick start, trained and serving one replica."""
    cluster.kubectl("apply", "-k", "examples/quickstart")

    def serving() -> bool:
        service = cluster.get("modelservice", "autoencoder", NAMESPACE)
        seen = condition(service, "TrainingSucceeded")
        assert not (seen["status"] == "False" and seen["reason"] == "Failed"), seen["message"]
        status = (service or {}).get("status") or {}
        return is_true(service, "Ready") and int(status.get("readyReplicas") or 0) >= 1

    cluster.wait("the quick start to serve", serving, timeout=180)
    return cluster
