"""Identities that are made from parts. They must never change for equal parts: a changed one restarts model pods."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from modelservice.domain.specs import Artifact, Download, Engine, Inference, Pool, Probes, Runtime, Training

LAYOUT = 3
"""Raised only when model pods have to be made anew although nobody changed what they are made of."""


def hash8(parts: Any) -> str:
    """Eight hexadecimal digits of any JSON, whatever the order of its keys."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def revision_id(spec: Inference, runtime: Runtime, engine: Engine, artifact: Artifact) -> str:
    """The identity of what the pods are made of, wherever they run."""
    return hash8({"layout": LAYOUT, "revision": _revision(spec, runtime, engine, artifact)})


def placement_id(
    spec: Inference, runtime: Runtime, engine: Engine, artifact: Artifact, pool: Pool, purchase: str
) -> str:
    """The identity of a placement: revision (what the pods are made of), pool and purchase option."""
    revision = _revision(spec, runtime, engine, artifact)
    return hash8({"layout": LAYOUT, "revision": revision, "pool": _pool(pool), "purchase": purchase})


def _revision(spec: Inference, runtime: Runtime, engine: Engine, artifact: Artifact) -> Mapping[str, Any]:
    pod = spec.pod
    return {
        "image": pod.image or engine.image,
        "args": pod.args or engine.args,
        "env": [engine.env, pod.env],
        "volumes": pod.volumes,
        "requests": pod.requests,
        "limits": pod.limits,
        "runtime": _interface(runtime, engine),
        "artifact": _artifact(artifact),
    }


def _interface(runtime: Runtime, engine: Engine) -> Mapping[str, Any]:
    """What else of a runtime is rendered; what it leaves at its default is not named, so that identities stay."""
    probes, drain = runtime.probes, runtime.drain
    parts: dict[str, Any] = {"port": runtime.port, "metricsPath": runtime.metrics_path}
    if probes != Probes():
        parts["probes"] = [probes.live, probes.ready, probes.start]
    if drain is not None:
        parts["drain"] = [drain.delay, drain.timeout]
    if engine.command:
        parts["command"] = engine.command
    if engine.shared_memory is not None:
        parts["sharedMemory"] = engine.shared_memory
    return parts


def run_id(training: Training) -> str:
    """The identity of a training run: what the user wrote, so that a new run starts only on a changed spec."""
    pod = training.pod
    return hash8(
        {
            "runtime": pod.runtime,
            "image": pod.image,
            "command": pod.command,
            "args": pod.args,
            "env": pod.env,
            "requests": pod.requests,
            "limits": pod.limits,
            "files": training.files,
            "output": [training.output.claim, training.output.path],
        }
    )


def attempt_id(run: str, attempt: int, pool: Pool, purchase: str) -> str:
    """The identity of the placement of one attempt."""
    return hash8({"run": run, "attempt": attempt, "pool": pool.name, "purchase": purchase})


def _artifact(artifact: Artifact) -> list[Any]:
    """Of a download the address alone: which revision lies there is found out by a pod, and kept for the others."""
    where = artifact.where
    place = [where.uri, where.secret] if isinstance(where, Download) else [where.claim, where.path, artifact.digest]
    return [*place, "remoteCode"] if artifact.remote_code else place


def _pool(pool: Pool) -> Mapping[str, Any]:
    return {
        "name": pool.name,
        "selector": dict(pool.selector),
        "tolerations": pool.tolerations,
        "resource": pool.resource,
        "stopSeconds": pool.billing.stop,
    }
