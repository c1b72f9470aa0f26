"""What the proof sets up: nodes, pools, budgets, services and training runs, and what a pod costs by their rules."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml
from cluster import REPO

PODS = Path(__file__).with_name("pods")
OURS = "modelservice.dev/v1alpha1"
ENGINE, TRAINER = "proof-engine", "proof-trainer"
NORTH, SOUTH, LOAD = "north", "south", "load"
REQUESTS = {"cpu": "1", "memory": "1Gi"}
NODE = {"cpu": 4, "memory": 8}
"""Processors and GiB of each node of a pool."""
HORIZON = 300
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tariff:
    """How the nodes of a pool are billed: prices in whole units of money per hour, times in seconds."""

    prices: tuple[int, ...]
    margin: int
    ungate: bool
    stop: int
    tail: int
    minimum: int

    @property
    def rate(self) -> int:
        """Micro-units per hour of one pod: the dearest price with its margin, times the dominant share, rounded up."""
        share = max(Fraction(int(REQUESTS["cpu"]), NODE["cpu"]), Fraction(1, NODE["memory"]))
        return math.ceil(Fraction(max(self.prices) * 1_000_000 * (100 + self.margin), 100) * share)


POOLS = {
    "steady": Tariff((4,), margin=0, ungate=False, stop=60, tail=0, minimum=60),
    "burst": Tariff((12, 5), margin=10, ungate=True, stop=60, tail=20, minimum=0),
}
GROUPS: dict[str, Object] = {
    "steady": {"min": 1, "max": 2, "startSeconds": 2, "idleSeconds": 40},
    "burst": {
        "min": 0,
        "max": 3,
        "startSeconds": 5,
        "idleSeconds": 40,
        "spot": {"meanLifeSeconds": 1_000_000, "warningSeconds": 20, "seed": 1},
    },
}


def nodes_file() -> str:
    """A node for what must stay, and a group for each pool."""
    groups = []
    for name, group in GROUPS.items():
        template = {
            "labels": {"pool": name},
            "taints": [{"key": "modelservice.dev/pool", "value": name, "effect": "NoExecute"}],
            "capacity": {"cpu": str(NODE["cpu"]), "memory": f"{NODE['memory']}Gi", "pods": "32"},
        }
        groups.append({"name": name, **group, "template": template})
    stays = {"name": "stays", "capacity": {"cpu": "8", "memory": "16Gi", "pods": "64"}}
    return yaml.safe_dump({"nodes": [stays], "groups": groups})


def images_file() -> str:
    """The repository's images, with the operator of this checkout, and one that runs scripts."""
    text = (REPO / "local" / "images.yaml").read_text().replace("${REPO}", str(REPO))
    images: list[Object] = yaml.safe_load(text)["images"]
    operator = next(image for image in images if image["name"] == "modelservice-operator")
    operator["env"]["PYTHONPATH"] = str(REPO / "operator")
    script = {"name": "proof/script", "roots": operator["roots"], "path": operator["path"], "entrypoint": ["python"]}
    return yaml.safe_dump({"images": [*images, {**script, "env": {"PYTHONUNBUFFERED": "1"}, "user": 65532}]})


def manifest(api_version: str, kind: str, name: str, namespace: str = "", **body: Any) -> Object:
    meta = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **body}


def pools() -> list[Object]:
    made = []
    for name, tariff in POOLS.items():
        options = zip(("OnDemand", "Spot"), tariff.prices, strict=False)
        spec = {
            "currency": "USD",
            "accelerator": {"type": "CPU"},
            "node": {"cpu": str(NODE["cpu"]), "memory": f"{NODE['memory']}Gi"},
            "nodeSelector": {"pool": name},
            "tolerations": [{"key": "modelservice.dev/pool", "value": name, "effect": "NoExecute"}],
            "purchaseOptions": [{"type": kind, "perNodeHour": f"{price}.00"} for kind, price in options],
            "billing": {
                "from": "Ungate" if tariff.ungate else "Running",
                "stopSeconds": tariff.stop,
                "tailSeconds": tariff.tail,
                "minimumSeconds": tariff.minimum,
                "marginPercent": tariff.margin,
            },
            "startSeconds": 60,
        }
        made.append(manifest(OURS, "ComputePool", name, spec=spec))
    return made


def runtimes() -> list[Object]:
    series = {
        "requestsRunning": ["engine_running"],
        "requestsWaiting": ["engine_waiting"],
        "requestsTotal": ["engine_total"],
    }
    serve = {"type": "CPU", "image": "proof/script:1", "args": ["/scripts/serve.py"]}
    train = {"type": "CPU", "image": "proof/script:1"}
    engine = {"role": "Inference", "metrics": series, "accelerators": [serve]}
    return [
        manifest(OURS, "ModelRuntime", ENGINE, spec=engine),
        manifest(OURS, "ModelRuntime", TRAINER, spec={"role": "Training", "accelerators": [train]}),
    ]


def budget(name: str, namespace: str, limit: str, period: Object, **more: Any) -> Object:
    """A budget of the namespace, or of the cluster where none is given."""
    kind = "BudgetPolicy" if namespace else "ClusterBudgetPolicy"
    spec = {
        "currency": "USD",
        "limit": limit,
        "period": period,
        "admission": {"horizonSeconds": HORIZON},
        **more,
    }
    return manifest(OURS, kind, name, namespace, spec=spec)


def zone_with_a_boundary(now: float, within: tuple[float, float]) -> str:
    """A time zone whose hours begin so many seconds from now; else one where none begins in the next half an hour."""
    low, high = within

    def rank(zone: str) -> int:
        local = datetime.fromtimestamp(now, ZoneInfo(zone))
        left = 3600 - local.minute * 60 - local.second
        return 0 if low <= left <= high else 1 if left > 1900 else 2

    return min(("UTC", "Asia/Kathmandu", "Asia/Kolkata"), key=rank)


def service(name: str, namespace: str, pool: str, most: int, priority: str) -> Object:
    inference = {
        "runtime": ENGINE,
        "resources": {"requests": REQUESTS},
        "volumes": [{"name": "scripts", "mountPath": "/scripts", "configMap": {"name": "scripts"}}],
        "minReplicas": 1,
        "maxReplicas": most,
        "placement": {"pools": [pool]},
        "scaling": {"scaleMetric": "Concurrency", "scaleTarget": 2, "scaleDownDelaySeconds": 15},
    }
    spec = {"priority": priority, "model": {"storageUri": "pvc://models/none"}, "inference": inference}
    return manifest(OURS, "ModelService", name, namespace, spec=spec)


def training(name: str, namespace: str, pool: str, seconds: int) -> Object:
    given = {
        "runtime": TRAINER,
        "command": ["train.py", str(seconds)],
        "output": {"storageUri": f"pvc://models/{name}"},
        "resourcesPerNode": {"requests": REQUESTS},
        "placement": {"pools": [pool]},
        "files": {"configMapRef": {"name": "scripts"}},
    }
    return manifest(OURS, "ModelService", name, namespace, spec={"training": given})


SERVICES = {
    (NORTH, "chat"): ("burst", 4, "Batch"),
    (NORTH, "embed"): ("steady", 3, "Standard"),
    (SOUTH, "rank"): ("burst", 3, "Critical"),
}
RUNS = {(NORTH, "tune"): "burst", (SOUTH, "distil"): "steady"}


def namespace(name: str) -> list[Object]:
    """A namespace with a claim for models and the scripts of its pods."""
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    scripts = {path.name: path.read_text() for path in PODS.glob("*.py")}
    return [
        manifest("v1", "Namespace", name),
        manifest("v1", "PersistentVolumeClaim", "models", name, spec=spec),
        manifest("v1", "ConfigMap", "scripts", name, data=scripts),
    ]


def load(seed: int, every: float) -> Object:
    """The pod that sends requests; it stays where nothing is preempted."""
    targets = [f"http://{name}.{where}/={2 * most + 1}" for (where, name), (_, most, _) in SERVICES.items()]
    container = {
        "name": "load",
        "image": "proof/script:1",
        "args": ["/scripts/load.py", str(seed), str(every), *targets],
        "volumeMounts": [{"name": "scripts", "mountPath": "/scripts"}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
    }
    volumes = [{"name": "scripts", "configMap": {"name": "scripts"}}]
    return manifest("v1", "Pod", "load", LOAD, spec={"containers": [container], "volumes": volumes})


def budgets(now: float, boundary: tuple[float, float]) -> list[Object]:
    """One for the cluster and one for each namespace; periods of two end during the proof, and their money is short."""
    day = {"calendar": "Day", "timeZone": "UTC"}
    hour = {"calendar": "Hour", "timeZone": zone_with_a_boundary(now, boundary)}
    return [
        budget("platform", "", "14.00", hour, maxRatePerHour="22.00"),
        budget("team", NORTH, "4.50", hour),
        budget("team", SOUTH, "110.00", day, maxRatePerHour="9.00"),
    ]


def listed(objects: Iterable[Object]) -> str:
    """Manifests as one document for kubectl."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def namespaces() -> list[Object]:
    return [obj for name in (NORTH, SOUTH, LOAD) for obj in namespace(name)]


def work(train_seconds: int) -> list[Object]:
    """The services and the training runs."""
    return [
        *(service(name, where, *given) for (where, name), given in SERVICES.items()),
        *(training(name, where, pool, train_seconds) for (where, name), pool in RUNS.items()),
    ]
