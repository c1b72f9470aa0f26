"""The Service of a ModelService: one address for all its replicas, whichever placement they belong to."""

from __future__ import annotations

from typing import Any

from modelservice.domain.specs import Role, Service
from modelservice.render.labels import NAME, ROLE, child_labels, owner


def service(of: Service) -> dict[str, Any]:
    """The Service, port 80 to the named port of the pods."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": of.name.name,
            "namespace": of.name.namespace,
            "labels": child_labels(of.name),
            "ownerReferences": owner(of),
        },
        "spec": {
            "selector": {NAME: of.name.name, ROLE: Role.INFERENCE.value},
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def url(of: Service) -> str:
    """Where requests go inside the cluster."""
    return f"http://{of.name.name}.{of.name.namespace}"
