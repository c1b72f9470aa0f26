"""What people do with pods works on process pods too: logs, exec, port-forward, names and probes."""

from __future__ import annotations

import re
import subprocess
import urllib.request

from cluster import Cluster

from tests.e2e.conftest import NAMESPACE

DEPLOYMENT = "modelservice.dev/name=autoencoder,modelservice.dev/role=Inference"


def pod(cluster: Cluster) -> str:
    pods = cluster.list("pods", NAMESPACE, DEPLOYMENT)
    return str(next(p for p in pods if "deletionTimestamp" not in p["metadata"])["metadata"]["name"])


def test_logs_show_what_the_worker_said(quickstart: Cluster) -> None:
    assert "autoencoder" in quickstart.kubectl("-n", NAMESPACE, "logs", pod(quickstart))


def test_exec_runs_a_command_in_the_pod_and_service_names_resolve_there(quickstart: Cluster) -> None:
    script = (
        "import urllib.request;print(urllib.request.urlopen('http://autoencoder.quickstart/v2/health/ready').status)"
    )
    assert quickstart.kubectl("-n", NAMESPACE, "exec", pod(quickstart), "--", "python", "-c", script).strip() == "200"


def test_port_forward_reaches_the_service(quickstart: Cluster) -> None:
    command = quickstart.kubectl_command("-n", NAMESPACE, "port-forward", "svc/autoencoder", ":80")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as forward:
        try:
            assert forward.stdout is not None
            found = re.search(r"127\.0\.0\.1:(\d+)", forward.stdout.readline())
            assert found is not None
            with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/v2", timeout=10) as answer:
                assert answer.status == 200
        finally:
            forward.terminate()


def test_a_pod_is_ready_only_because_its_probe_says_so(quickstart: Cluster) -> None:
    spec = next(p for p in quickstart.list("pods", NAMESPACE, DEPLOYMENT))["spec"]
    assert spec["containers"][0]["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
