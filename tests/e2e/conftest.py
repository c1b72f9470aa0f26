"""One localcluster with Prometheus, the chart and the quick start on it, shared by the end-to-end tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import REPO, Cluster, condition, is_true

NAMESPACE = "quickstart"
VLLM = """
  - name: vllm/vllm-openai
    roots: ["{repo}", "{directory}"]
    path: ["{directory}/bin", "{repo}/.venv/bin", /usr/bin, /bin]
    user: 65532
"""


def images(directory: Path) -> Path:
    """The images of localcluster and that of vLLM, whose program is a fake."""
    program = directory / "bin/vllm"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec python {REPO}/tests/e2e/fakevllm.py "$@"\n')
    program.chmod(0o755)
    directory.chmod(0o755)
    usual = (REPO / "local/images.yaml").read_text().rstrip("\n").replace("${REPO}", str(REPO))
    path = directory / "images.yaml"
    path.write_text(usual + VLLM.format(repo=REPO, directory=directory))
    return path


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    directory = Path(tempfile.mkdtemp(prefix="ms-e2e-"))
    cluster = Cluster(directory, port=0, images=images(directory))
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
