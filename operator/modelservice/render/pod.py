"""The pod of either role: gated from birth, confined to the restricted Pod Security level, bound to its pool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from modelservice.domain.placement import grace_seconds, requested
from modelservice.domain.quantities import whole
from modelservice.domain.specs import Drain, Engine, Json, Pool, Workload
from modelservice.render.labels import GATE
from modelservice.render.variables import expand, expand_all

USER = 65532
SHARED_MEMORY = {"name": "modelservice-shm", "mountPath": "/dev/shm"}  # noqa: S108 - where POSIX has it


def environment(ours: Mapping[str, str], known: Mapping[str, str], *given: Iterable[Json]) -> list[dict[str, Any]]:
    """Variables in a fixed order: ours first and last word, then the given lists, a later one wins.

    References to what is `known` are expanded in the given ones.
    """
    merged: dict[str, dict[str, Any]] = {name: {"name": name, "value": value} for name, value in ours.items()}
    for variables in given:
        for variable in variables:
            if variable["name"] in ours:
                continue
            written = dict(variable)
            if "value" in written:
                written["value"] = expand(written["value"], known)
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
    known = {**resource_variables(pod, pool), **env}
    return {
        "name": "main",
        "image": expand(pod.image or engine.image, known),
        "imagePullPolicy": "IfNotPresent",
        **({"command": expand_all(engine.command, known)} if engine.command else {}),
        "args": expand_all(args, known),
        "env": environment(env, known, engine.env, pod.env),
        "resources": resources(pod, pool),
        "volumeMounts": [
            *mounts,
            *([SHARED_MEMORY] if _shares_memory(pod, engine) else []),
            *({"name": v["name"], "mountPath": v["mountPath"]} for v in pod.volumes),
        ],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }


def resource_variables(pod: Workload, pool: Pool) -> dict[str, str]:
    """What args and env may refer to beside the environment: the accelerators and whole CPUs of one pod."""
    requests = requested(pod, pool)
    cpu = pod.limits.get("cpu", requests.get("cpu", "1"))
    devices = whole(pool.resource, requests[pool.resource]) if pool.resource is not None else 0
    return {"DEVICES": str(devices), "CPU_THREADS": str(max(1, whole("cpu", cpu) // 1000))}


def _shares_memory(pod: Workload, engine: Engine) -> bool:
    """Whether /dev/shm is ours: not when the user mounts something there."""
    given = any(volume["mountPath"].rstrip("/") == SHARED_MEMORY["mountPath"] for volume in pod.volumes)
    return engine.shared_memory is not None and not given


def resources(pod: Workload, pool: Pool) -> dict[str, Any]:
    """Requests and limits; an extended resource is limited to what is requested, as Kubernetes demands."""
    requests = requested(pod, pool)
    extended = {name: amount for name, amount in requests.items() if "/" in name}
    limits = {**pod.limits, **extended}
    return {"requests": requests, **({"limits": limits} if limits else {})}


def pod_spec(
    pool: Pool, main: dict[str, Any], volumes: list[dict[str, Any]], *, restart: str, drain: Drain | None = None
) -> dict[str, Any]:
    """The spec around the container."""
    return {
        "schedulingGates": [{"name": GATE}],
        "restartPolicy": restart,
        "terminationGracePeriodSeconds": grace_seconds(pool, drain),
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


def volumes_of(pod: Workload, engine: Engine) -> list[dict[str, Any]]:
    """The engine's and the user's volumes in the spelling of a pod, which has the mount path elsewhere."""
    shared = {"name": SHARED_MEMORY["name"], "emptyDir": {"medium": "Memory", "sizeLimit": engine.shared_memory}}
    given = [{key: value for key, value in volume.items() if key != "mountPath"} for volume in pod.volumes]
    return [*([shared] if _shares_memory(pod, engine) else []), *given]
