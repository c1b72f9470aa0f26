"""The pod of either role: gated from birth, confined to the restricted Pod Security level, bound to its pool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from modelservice.domain.placement import requested
from modelservice.domain.specs import Engine, Json, Pool, Workload
from modelservice.render.labels import GATE
from modelservice.render.variables import expand, expand_all

USER = 65532
LONGEST_GRACE = 60
STOP_MARGIN = 15


def grace_seconds(pool: Pool) -> int:
    """Time for a pod to end by itself, so that the kubelet's proof comes within the pool's `stopSeconds`."""
    return max(1, min(LONGEST_GRACE, pool.billing.stop - STOP_MARGIN))


def environment(ours: Mapping[str, str], *given: Iterable[Json]) -> list[dict[str, Any]]:
    """Variables in a fixed order: ours first and last word, then the given lists, a later one wins."""
    merged: dict[str, dict[str, Any]] = {name: {"name": name, "value": value} for name, value in ours.items()}
    for variables in given:
        for variable in variables:
            if variable["name"] in ours:
                continue
            written = dict(variable)
            if "value" in written:
                written["value"] = expand(written["value"], ours)
            merged[variable["name"]] = written
    return list(merged.values())


def container(
    pod: Workload,
    engine: Engine,
    pool: Pool,
    *,
    args: Iterable[str],
    env: Mapping[str, str],
    mounts: list[dict[str, Any]],
) -> dict[str, Any]:
    """The one container of a pod, without ports and probes."""
    return {
        "name": "main",
        "image": expand(pod.image or engine.image, env),
        "imagePullPolicy": "IfNotPresent",
        "args": expand_all(args, env),
        "env": environment(env, engine.env, pod.env),
        "resources": resources(pod, pool),
        "volumeMounts": [*mounts, *({"name": v["name"], "mountPath": v["mountPath"]} for v in pod.volumes)],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }


def resources(pod: Workload, pool: Pool) -> dict[str, Any]:
    """Requests and limits; an extended resource is limited to what is requested, as Kubernetes demands."""
    requests = requested(pod, pool)
    extended = {name: amount for name, amount in requests.items() if "/" in name}
    limits = {**pod.limits, **extended}
    return {"requests": requests, **({"limits": limits} if limits else {})}


def pod_spec(pool: Pool, main: dict[str, Any], volumes: list[dict[str, Any]], *, restart: str) -> dict[str, Any]:
    """The spec around the container."""
    return {
        "schedulingGates": [{"name": GATE}],
        "restartPolicy": restart,
        "terminationGracePeriodSeconds": grace_seconds(pool),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeSelector": dict(pool.selector),
        "tolerations": [dict(toleration) for toleration in pool.tolerations],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [main],
        "volumes": volumes,
    }


def user_volumes(pod: Workload) -> list[dict[str, Any]]:
    """The user's volumes in the spelling of a pod, which has the mount path elsewhere."""
    return [{key: value for key, value in volume.items() if key != "mountPath"} for volume in pod.volumes]
