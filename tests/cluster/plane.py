"""A real control plane with our kinds, and kwok beside it, which plays the kubelet of nodes that tests make up."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster import Cluster

REPO = Path(__file__).resolve().parents[2]


@contextmanager
def control_plane(directory: Path) -> Iterator[Cluster]:
    """A control plane below the directory; no node."""
    directory.mkdir(exist_ok=True)
    nodes = directory / "nodes.yaml"
    nodes.write_text("nodes: []\n")
    state = directory / "state"
    plane = Cluster(state, port=0, env={"LOCALCLUSTER_DIR": str(state)})
    try:
        plane.up("--nodes", str(nodes))
        plane.kubectl("apply", "-f", str(REPO / "crds"))
        plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(REPO / "crds"))
        yield plane
    finally:
        plane.down("--purge")
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def fake_kubelets(cluster: Cluster, directory: Path) -> Iterator[None]:
    """kwok: it plays the kubelet of every node with the annotation kwok.x-k8s.io/node=fake."""
    log = directory / "kwok.log"
    command = [
        str(REPO / "bin/kwok"),
        f"--kubeconfig={cluster.kubeconfig}",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        "--node-lease-duration-seconds=8",
        f"--config={Path(__file__).with_name('kwok.yaml')}",
    ]
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        yield
        assert process.poll() is None, f"kwok ended early: {log.read_text()[-2000:]}"
    finally:
        process.terminate()
        process.wait(timeout=20)
