"""The container that downloads the model before the engine starts, into a directory that lives as long as the pod."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from modelservice.domain.specs import Artifact, ClaimPath, Download
from modelservice.render.labels import REVISION

FETCH: Final = "fetch"
ADDRESS: Final = "MODELSERVICE_STORAGE_URI"
MODELS: Final = "/mnt/models"
WEIGHTS: Final = "modelservice-weights"
TARGET: Final = f"{MODELS}/model"

_SHARED: Final = ("cpu", "memory", "ephemeral-storage")


def model_path(artifact: Artifact) -> str:
    """Where the engine finds the model: its directory, or the file that the address names."""
    where = artifact.where
    if isinstance(where, ClaimPath):
        return f"{MODELS}/{where.path}"
    return f"{TARGET}/{where.file}" if where.file else TARGET


def weights_volume(artifact: Artifact) -> dict[str, Any]:
    """The volume that is mounted at MODELS."""
    if isinstance(artifact.where, ClaimPath):
        return {"name": WEIGHTS, "persistentVolumeClaim": {"claimName": artifact.where.claim, "readOnly": True}}
    return {"name": WEIGHTS, "emptyDir": {}}


def fetch_container(
    where: Download, image: str, port: int, resources: Mapping[str, Any], *, remote_code: bool
) -> dict[str, Any]:
    """The init container; `resources` are those of the engine, whose part it may use before the engine does.

    So the pod asks for no more than the engine, and costs no more. The progress is served on the engine's `port`, which
    is free until then and which Prometheus knows. The revision to keep to is an annotation that the pod gets with the
    removal of its gate: the Deployment need not change when it becomes known.
    """
    revision = {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.annotations['{REVISION}']"}}
    made: dict[str, Any] = {
        "name": FETCH,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["fetch", "--scripts"] if remote_code else ["fetch"],
        "env": [
            {"name": ADDRESS, "value": where.uri.replace("$", "$$")},
            {"name": "MODELSERVICE_MODEL_DIR", "value": TARGET},
            {"name": "MODELSERVICE_MODEL_REVISION", "valueFrom": revision},
            {"name": "MODELSERVICE_DOWNLOAD_PORT", "value": str(port)},
        ],
        "resources": {
            kind: {name: amount for name, amount in amounts.items() if name in _SHARED}
            for kind, amounts in resources.items()
        },
        "volumeMounts": [{"name": WEIGHTS, "mountPath": MODELS}],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    if where.secret:
        made["envFrom"] = [{"secretRef": {"name": where.secret}}]
    return made
