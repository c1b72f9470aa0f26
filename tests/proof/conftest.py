"""One localcluster with groups of nodes, Prometheus and the chart on it, and one performance for all tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import REPO, Cluster

from tests.proof.performance import Performance
from tests.proof.scene import images_file, nodes_file
from tests.proof.verdict import Verdict


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    directory = Path(tempfile.mkdtemp(prefix="ms-proof-"))
    nodes, images = directory / "nodes.yaml", directory / "images.yaml"
    nodes.write_text(nodes_file())
    images.write_text(images_file())
    cluster = Cluster(directory / "state", port=0)
    try:
        cluster.up("--nodes", str(nodes), "--images", str(images))
        cluster.kubectl("apply", "-f", "examples/monitoring/prometheus.yaml")
        cluster.install()
        cluster.kubectl("-n", "monitoring", "rollout", "status", "deployment/prometheus", "--timeout=60s")
        yield cluster
    finally:
        logs = REPO / ".local" / "logs" / "proof"
        shutil.rmtree(logs, ignore_errors=True)
        shutil.copytree(cluster.directory / "logs", logs) if (cluster.directory / "logs").is_dir() else None
        cluster.down("--purge")
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def performance(cluster: Cluster) -> Performance:
    """The whole run; what was recorded stays in .local/logs/proof-record.jsonl."""
    performance = Performance.prepare(cluster)
    try:
        performance.run()
    finally:
        performance.recorder.save(REPO / ".local" / "logs" / "proof-record.jsonl")
    return performance


@pytest.fixture(scope="session")
def verdict(performance: Performance) -> Verdict:
    return Verdict.judge(performance.recorder)
