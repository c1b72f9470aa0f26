"""Names that our objects carry on the cluster."""

from __future__ import annotations

from typing import Any

from modelservice.domain.specs import Role, Service, ServiceName

API_VERSION = "modelservice.dev/v1alpha1"
GATE = "modelservice.dev/budget"
NAME = "modelservice.dev/name"
ROLE = "modelservice.dev/role"
PLACEMENT = "modelservice.dev/placement"
VARIANT = "modelservice.dev/variant"
POOL = "modelservice.dev/pool"
POD_REVISION = "modelservice.dev/revision"
RUN = "modelservice.dev/run"
ATTEMPT = "modelservice.dev/attempt"
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "modelservice"
BASE_VARIANT = "base"
APPLIED_HASH = "modelservice.dev/applied-hash"
ARTIFACT = "modelservice.dev/artifact"
BREAK_GLASS_UNTIL = "modelservice.dev/break-glass-until"
BREAK_GLASS_REASON = "modelservice.dev/break-glass-reason"
DIGEST = "modelservice.dev/artifact-digest"
REVISION = "modelservice.dev/model-revision"
SIZE = "modelservice.dev/model-bytes"
WAKE = "modelservice.dev/wake-requested-at"
GATEWAY = "modelservice.dev/gateway"
"""On the Service of the gateway, whose EndpointSlices take it over, and on those slices that name the gateway."""
SERVICE_NAME = "kubernetes.io/service-name"
SLICE_MANAGER = "endpointslice.kubernetes.io/managed-by"
UNDO = "modelservice.dev/rollout-undo"
"""Two revisions, <from>/<to>: the second is served for as long as the spec describes the first."""
PROMOTE = "modelservice.dev/rollout-promote"
"""A revision that gets all requests without further steps."""


def child_labels(service: ServiceName) -> dict[str, str]:
    """Labels of every child of a service."""
    return {MANAGED_BY: MANAGER, NAME: service.name}


def pod_labels(service: ServiceName, role: Role, placement: str, pool: str) -> dict[str, str]:
    """Labels of a workload and its pods."""
    return {**child_labels(service), ROLE: role.value, PLACEMENT: placement, VARIANT: BASE_VARIANT, POOL: pool}


def owner(service: Service) -> list[dict[str, Any]]:
    """The owner reference that lets the garbage collector remove a child with its service."""
    return [
        {
            "apiVersion": API_VERSION,
            "kind": "ModelService",
            "name": service.name.name,
            "uid": service.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }
    ]
