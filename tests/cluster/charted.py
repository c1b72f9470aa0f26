"""The chart's rights and admission policies on the cluster, without its Deployments: the tests run those themselves."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import yaml
from cluster import Cluster
from modelservice.adapters.kube import Kube

from tests.cluster.proxy import Proxy
from tests.cluster.rest import Object, Rest, connect, until

REPO = Path(__file__).resolve().parents[2]
SYSTEM = "modelservice-system"
KUBERNETES = ("--kube-version", "1.36.3")
BREAK_GLASS = "modelservice:break-glass"
OPERATOR = f"system:serviceaccount:{SYSTEM}:modelservice"
FUSE = f"system:serviceaccount:{SYSTEM}:modelservice-fuse"
GATEWAY = f"system:serviceaccount:{SYSTEM}:modelservice-gateway"
GATE = "modelservice.dev/budget"
NAME = "modelservice.dev/name"
PODS = "/api/v1/namespaces/default/pods"
LEDGERS = "/apis/modelservice.dev/v1alpha1/namespaces/default/budgetledgers"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
INSTALLED = {
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}
LEDGER: Object = {
    "apiVersion": "modelservice.dev/v1alpha1",
    "kind": "BudgetLedger",
    "metadata": {"name": "open"},
    "book": {"time": 0, "accounts": [], "placements": []},
}


def pod(name: str, *, gated: bool = True, labels: dict[str, str] | None = None) -> Object:
    """A pod that carries the label of a ModelService unless others are given."""
    gates = {"schedulingGates": [{"name": GATE}]} if gated else {}
    container = {"name": "main", "image": "x", "resources": {"requests": {"cpu": "1"}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {NAME: "chat"} if labels is None else labels},
        "spec": {"containers": [container], **gates},
    }


def rendered() -> list[Object]:
    """Every object of the chart, as Helm renders it."""
    done = subprocess.run(
        [REPO / "bin/helm", "template", "modelservice", "charts/modelservice", "-n", SYSTEM, *KUBERNETES],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPO,
        timeout=30,
    )
    return [item for item in yaml.safe_load_all(done.stdout) if item]


@contextmanager
def charted(cluster: Cluster, chart: list[Object], *more: Object) -> Iterator[Rest]:
    """Install rights and policies, and `more` objects, and take them away at the end; yields the administrator."""
    documents = [item for item in chart if item["kind"] in INSTALLED]
    assert {item["kind"] for item in documents} == INSTALLED
    system = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM, "labels": RESTRICTED}}
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": [system, *more, *documents]})
    with connect(cluster.kubeconfig) as rest:
        until("an earlier namespace to be gone", lambda: not _terminating(rest))
        cluster.kubectl("apply", "-f", "-", stdin=manifest)
        try:
            until("the policies to be enforced", lambda: all(_enforced(rest)))
            yield rest
        finally:
            cluster.kubectl("delete", "--wait=false", "-f", "-", stdin=manifest)
            until("the policies to be gone", lambda: not any(_enforced(rest)))


def _terminating(rest: Rest) -> bool:
    found = rest.get(f"/api/v1/namespaces/{SYSTEM}")
    return found.code == 200 and "deletionTimestamp" in found.body["metadata"]


def _enforced(rest: Rest) -> tuple[bool, ...]:
    """Whether the policies for pods, for ledgers and for the fuse refuse what they should."""
    book = {**LEDGER, "metadata": {"name": "probe"}}
    attempts = ((PODS, pod("probe", gated=False)), (LEDGERS, book))
    replies = [rest.post(f"{path}?dryRun=All", body) for path, body in attempts]
    return tuple(reply.code == 403 for reply in replies)


@asynccontextmanager
async def as_person(kube: Kube, directory: Path, name: str, group: str = "") -> AsyncIterator[Path]:
    """A kubeconfig with which one is that user, or a ServiceAccount by its user name."""
    person = {"Impersonate-User": name, **({"Impersonate-Group": group} if group else {})}
    async with Proxy(kube, person=person).serve() as proxy:
        home = directory / f"as-{proxy.port}"
        home.mkdir()
        yield proxy.kubeconfig(home)
