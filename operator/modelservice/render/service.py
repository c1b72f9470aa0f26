"""The Services of a ModelService: one address for all that serves, and one for a canary."""

from __future__ import annotations

from typing import Any

from modelservice.domain.gateways import Gateways
from modelservice.domain.specs import Role, Service, ServiceName
from modelservice.render.labels import (
    GATEWAY,
    MANAGER,
    NAME,
    POD_REVISION,
    ROLE,
    SERVICE_NAME,
    SLICE_MANAGER,
    child_labels,
    owner,
)


def service(of: Service, revision: str = "") -> dict[str, Any]:
    """The Service, port 80 to the named port of the pods: those of one revision, "" for all of them."""
    return _address(of, of.name.name, revision)


def canary(of: Service, revision: str) -> dict[str, Any]:
    """The Service by which the gateway finds the replicas of a canary."""
    return _address(of, canary_name(of.name), revision)


def canary_name(of: ServiceName) -> str:
    """The name of the Service of a canary."""
    return f"{of.name}-canary"


def _address(of: Service, name: str, revision: str) -> dict[str, Any]:
    selector = {NAME: of.name.name, ROLE: Role.INFERENCE.value}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": of.name.namespace,
            "labels": child_labels(of.name),
            "ownerReferences": owner(of),
        },
        "spec": {
            "selector": {**selector, POD_REVISION: revision} if revision else selector,
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def stand_in_name(of: ServiceName) -> str:
    """The name of the slice that names the gateway."""
    return f"{of.name}-gateway"


def stand_in(of: Service, gateways: Gateways) -> dict[str, Any]:
    """The slice that sends requests for a service without a ready replica to the gateway, which holds them."""
    labels = {SERVICE_NAME: of.name.name, SLICE_MANAGER: MANAGER, GATEWAY: "true"}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": stand_in_name(of.name),
            "namespace": of.name.namespace,
            "labels": {**child_labels(of.name), **labels},
            "ownerReferences": owner(of),
        },
        "addressType": gateways.family,
        "ports": [{"name": "http", "port": gateways.port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [one], "conditions": {"ready": True}} for one in gateways.addresses],
    }


def url(of: Service) -> str:
    """Where requests go inside the cluster."""
    return f"http://{of.name.name}.{of.name.namespace}"
