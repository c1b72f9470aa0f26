"""What is done to the cluster while the book is watched: everything is drawn from one seed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from cluster import REPO, SYSTEM, Cluster

from tests.proof.history import NAME

OPERATOR = "app.kubernetes.io/name=modelservice,app.kubernetes.io/component=operator"
LEASE = "modelservice-operator"


@dataclass(slots=True)
class Disturbances:
    """Deletes pods of the operator, preempts nodes and stops the API server for a while; counts what it did."""

    cluster: Cluster
    random: Random
    deletions: int = 0
    preemptions: int = 0
    leaders: int = 0
    """How many of the deleted pods were leading."""
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def operators(self) -> list[str]:
        """Names of the operator's pods that are there to stay."""
        pods = self.cluster.list("pods", SYSTEM, OPERATOR)
        return sorted(pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"])

    def delete_operator(self) -> None:
        """Delete one of the operator's pods, the leader more often than not; every other one gets no time to stop."""
        names, lease = self.operators(), self.cluster.get("lease", LEASE, SYSTEM) or {}
        leader = (lease.get("spec") or {}).get("holderIdentity")
        chosen = leader if leader in names and self.random.random() < 0.7 else self.random.choice(names)
        grace = ["--grace-period=1"] if self.random.random() < 0.5 else []
        self.cluster.kubectl("-n", SYSTEM, "delete", "pod", chosen, "--wait=false", *grace)
        self.deletions += 1
        self.leaders += chosen == leader

    def preempt(self) -> None:
        """Take a node away on which pods of ours run, in turn with less and with more warning than they need."""
        nodes = {pod["spec"].get("nodeName") for pod in self.cluster.list("pods", selector=NAME) if _is_running(pod)}
        if not nodes:
            return
        name, warning = self.random.choice(sorted(nodes)), (1, 20)[self.preemptions % 2]
        command = [REPO / "bin/localcluster", "preempt", name, "--warning-seconds", str(warning)]
        words = [*map(str, command), "--dir", str(self.cluster.directory)]
        self._running.append(subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT))
        self.preemptions += 1

    def pause_api_server(self, seconds: float) -> None:
        """Let the API server answer nobody for a while."""
        status = self.cluster.run(REPO / "bin/localcluster", "status", "--dir", self.cluster.directory)
        row = next(line.split() for line in status.splitlines() if line.startswith("kube-apiserver"))
        with stopped(int(row[2])):
            time.sleep(seconds)

    def finish(self) -> None:
        """Wait for the preemptions that still go on."""
        for process in self._running:
            assert process.wait(timeout=120) == 0, "a node could not be preempted"

    def stop_operator(self) -> None:
        """Scale the operator to nothing and wait for its end."""
        self._scale(0)
        selector = ("-n", SYSTEM, "-l", OPERATOR)
        self.cluster.kubectl("wait", "--for=delete", "pod", *selector, "--timeout=90s")

    def start_operator(self) -> None:
        """Bring both replicas back."""
        self._scale(2)
        self.cluster.kubectl("-n", SYSTEM, "rollout", "status", "deployment/modelservice", "--timeout=180s")

    def _scale(self, replicas: int) -> None:
        self.cluster.kubectl("-n", SYSTEM, "scale", "deployment/modelservice", f"--replicas={replicas}")


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that does nothing meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _is_running(pod: dict[str, Any]) -> bool:
    return bool(pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"])
