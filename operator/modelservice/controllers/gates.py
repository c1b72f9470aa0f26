"""The scheduling gate of a pod: the one patch that takes it away, together with what the pod is told by annotations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelservice.controllers.observation import gate_index
from modelservice.kit.objects import Object
from modelservice.render.labels import GATE


def opening(obj: Object, notes: Mapping[str, str]) -> list[dict[str, Any]]:
    """A JSON patch for a pod as it was read; it fails when the pod has changed. A pod without the gate keeps none."""
    meta, index = obj["metadata"], gate_index(obj)
    operations: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]}
    ]
    if notes and not meta.get("annotations"):
        operations.append({"op": "add", "path": "/metadata/annotations", "value": {}})
    for name, value in notes.items():
        path = f"/metadata/annotations/{name.replace('/', '~1')}"
        operations.append({"op": "add", "path": path, "value": value})
    if index is not None:
        where = f"/spec/schedulingGates/{index}"
        operations.append({"op": "test", "path": f"{where}/name", "value": GATE})
        operations.append({"op": "remove", "path": where})
    return operations
