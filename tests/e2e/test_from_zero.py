"""A service at zero behind the real gateway: a GET wakes nothing, a hundred held requests are all answered."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from cluster import SYSTEM, Cluster, condition

from tests.e2e.conftest import NAMESPACE
from tests.e2e.test_process_pods import pod

NAME = "sleeper"
CLIENTS = 100
WAKE = "modelservice.dev/wake-requested-at"

ASK = """
import json, threading, time, urllib.error, urllib.request
body = {"inputs": [{"name": "input", "shape": [1, 10], "datatype": "FP32", "data": [0.1] * 10}]}
answers = []
def ask():
    call = urllib.request.Request("http://%(name)s.quickstart/v2/models/%(name)s/infer", json.dumps(body).encode())
    call.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(call, timeout=110) as answer:
            seen = [answer.status, len(json.load(answer)["outputs"][0]["data"])]
    except urllib.error.HTTPError as error:
        seen = [error.code, error.read().decode()]
    except OSError as error:
        seen = [0, str(error)]
    answers.append([time.time(), *seen])
threads = [threading.Thread(target=ask) for _ in range(%(clients)d)]
began = time.time()
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps({"began": began, "answers": answers}))
"""

GET = """
import urllib.error, urllib.request
try:
    print(urllib.request.urlopen("http://%s.quickstart/v2/models/%s", timeout=20).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


@dataclass
class Sightings:
    """When a watch first showed each step of the service's pods, by this machine's clock."""

    created: float = 0.0
    let_go: float = 0.0
    ready: float = 0.0
    seen: set[str] = field(default_factory=set)

    def take(self, obj: dict[str, Any]) -> None:
        """Take in one version of a pod."""
        now = time.time()
        self.seen.add(obj["metadata"]["uid"])
        self.created = self.created or now
        if not obj["spec"].get("schedulingGates"):
            self.let_go = self.let_go or now
        if any(one["type"] == "Ready" and one["status"] == "True" for one in obj["status"].get("conditions") or ()):
            self.ready = self.ready or now


@contextmanager
def watching(cluster: Cluster) -> Iterator[Sightings]:
    """Watch the pods of the service."""
    selector = f"modelservice.dev/name={NAME}"
    path = f"/api/v1/namespaces/{NAMESPACE}/pods?watch=true&labelSelector={selector.replace('=', '%3D')}"
    sightings = Sightings()
    with subprocess.Popen(cluster.kubectl_command("get", "--raw", path), stdout=subprocess.PIPE, text=True) as watch:

        def read() -> None:
            assert watch.stdout is not None
            for line in watch.stdout:
                event = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED"):
                    sightings.take(event["object"])

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield sightings
        finally:
            watch.terminate()
            reader.join()


def service(cluster: Cluster) -> dict[str, Any]:
    return cluster.get("modelservice", NAME, NAMESPACE) or {}


def parked(cluster: Cluster) -> bool:
    found = service(cluster)
    ready = condition(found, "Ready")
    gone = not cluster.list("pods", NAMESPACE, f"modelservice.dev/name={NAME}")
    return gone and (ready["status"], ready["reason"]) == ("True", "ScaledToZero")


def held_by(cluster: Cluster) -> set[str]:
    """The addresses to which the gateway's slice leads."""
    found = cluster.get("endpointslice", f"{NAME}-gateway", NAMESPACE) or {}
    return {address for end in found.get("endpoints") or () for address in end["addresses"]}


@pytest.fixture
def sleeper(quickstart: Cluster) -> Iterator[Cluster]:
    """The quick start's model in a service that may be at zero, on a pool whose pods start quickly; parked."""
    trained = quickstart.get("modelservice", "autoencoder", NAMESPACE) or {}
    pool = quickstart.get("computepool", "cpu") or {}
    quick = {**pool, "metadata": {"name": "cpu-quick"}, "spec": {**pool["spec"], "startSeconds": 3}}
    inference = {
        "runtime": "modelservice-torch",
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
        "placement": {"pools": ["cpu-quick"]},
        "minReplicas": 0,
        "maxReplicas": 1,
        "scaling": {"scaleTarget": 1000, "scaleToZero": {"idleSeconds": 10, "holdTimeoutSeconds": 100}},
    }
    spec = {"model": {"storageUri": trained["status"]["training"]["artifact"]["path"]}, "inference": inference}
    made = {
        "apiVersion": "modelservice.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": spec,
    }
    quick.pop("status", None)
    quickstart.kubectl(
        "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": [quick, made]})
    )
    try:
        quickstart.wait("the first replica to prove the model and go", lambda: parked(quickstart), timeout=150)
        yield quickstart
    finally:
        quickstart.kubectl("-n", NAMESPACE, "delete", "modelservice", NAME)
        quickstart.kubectl("delete", "computepool", "cpu-quick", "--wait=false")


def test_a_get_wakes_nothing_and_a_hundred_requests_from_zero_are_all_answered(sleeper: Cluster) -> None:
    gateways = {pod["status"]["podIP"] for pod in sleeper.list("pods", SYSTEM, "app.kubernetes.io/component=gateway")}
    assert len(gateways) == 2
    assert held_by(sleeper) == gateways
    inside = ("-n", NAMESPACE, "exec", pod(sleeper), "--", "python", "-c")
    assert sleeper.kubectl(*inside, GET % (NAME, NAME)).strip() == "503"
    with watching(sleeper) as seen:
        words = {"name": NAME, "clients": CLIENTS}
        told = json.loads(sleeper.kubectl(*inside, ASK % words, timeout=130))
    began, answers = told["began"], sorted(told["answers"])
    assert [answer[1:] for answer in answers] == [[200, 10]] * CLIENTS, answers[:3]
    assert began < seen.created < seen.let_go <= seen.ready, "the GET had woken it already"
    assert len(seen.seen) == 1
    woken = service(sleeper)
    assert woken["metadata"]["annotations"][WAKE] == woken["status"]["scaleToZero"]["wakeRequestedAt"]
    first, last = answers[0][0] - began, answers[-1][0] - began
    own = seen.ready - seen.let_go
    print(
        f"\nfrom zero: pod there after {seen.created - began:.2f} s, let go after {seen.let_go - began:.2f} s, "
        f"its own start {own:.2f} s, first answer after {first:.2f} s (own start + {first - own:.2f} s), "
        f"all {CLIENTS} after {last:.2f} s"
    )
    sleeper.wait("the gateway's slice to go", lambda: not held_by(sleeper), timeout=30)
    sleeper.wait("the service to be parked again", lambda: parked(sleeper), timeout=90)
    assert held_by(sleeper) == gateways
