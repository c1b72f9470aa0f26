"""One Job for each attempt of a training run: a single pod that is never repeated by the Job controller."""

from __future__ import annotations

from typing import Any

from modelservice.domain.specs import Pool, Role, Runtime, Service, Training
from modelservice.render.hashing import attempt_id
from modelservice.render.labels import ATTEMPT, RUN, owner, pod_labels
from modelservice.render.pod import container, pod_spec, volumes_of

OUTPUT = "/mnt/output"
WORKSPACE = "/workspace"
OUTPUT_VOLUME = "modelservice-output"
FILES_VOLUME = "modelservice-files"


def job_name(service: Service, run: str, attempt: int) -> str:
    """The name of the Job of an attempt."""
    return f"{service.name.name}-{run}-{attempt}"


def job(
    service: Service, training: Training, runtime: Runtime, pool: Pool, purchase: str, run: str, attempt: int
) -> dict[str, Any]:
    """The Job of one attempt."""
    placement = attempt_id(run, attempt, pool, purchase)
    labels = {
        **pod_labels(service.name, Role.TRAINING, placement, pool.name),
        RUN: run,
        ATTEMPT: str(attempt),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(service, run, attempt),
            "namespace": service.name.namespace,
            "labels": labels,
            "ownerReferences": owner(service),
        },
        "spec": {
            "parallelism": 1,
            "completions": 1,
            "completionMode": "Indexed",
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "suspend": False,
            "template": {
                "metadata": {"labels": labels},
                "spec": _pod(service, training, runtime, pool, run, attempt),
            },
        },
    }


def _pod(service: Service, training: Training, runtime: Runtime, pool: Pool, run: str, attempt: int) -> dict[str, Any]:
    engine = runtime.engines[pool.accelerator]
    base = f"{OUTPUT}/{training.output.path}/{run}"
    variables = {
        "MODELSERVICE_OUTPUT_DIR": f"{base}/{attempt}",
        "MODELSERVICE_CHECKPOINT_DIR": f"{base}/checkpoints",
        "MODELSERVICE_RUN": run,
        "MODELSERVICE_ATTEMPT": str(attempt),
        "MODELSERVICE_SERVICE": service.name.name,
        "MODELSERVICE_NAMESPACE": service.name.namespace,
    }
    mounts: list[dict[str, Any]] = [
        {"name": OUTPUT_VOLUME, "mountPath": OUTPUT},
        {"name": FILES_VOLUME, "mountPath": WORKSPACE},
    ]
    args = [*engine.args, *training.pod.command, *training.pod.args]
    main = container(training.pod, engine, pool, args=args, env=variables, mounts=mounts)
    main["workingDir"] = WORKSPACE
    files: dict[str, Any] = {"configMap": {"name": training.files}} if training.files else {"emptyDir": {}}
    volumes = [
        {"name": OUTPUT_VOLUME, "persistentVolumeClaim": {"claimName": training.output.claim}},
        {"name": FILES_VOLUME, **files},
        *volumes_of(training.pod, engine),
    ]
    return pod_spec(pool, main, volumes, restart="Never")
