"""What is read of ModelServices and EndpointSlices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from modelservice.kit.objects import Ref, annotation_of, label_of, ref_of

SERVICE_NAME = "kubernetes.io/service-name"
SLICES = "modelservice.dev/name,endpointslice.kubernetes.io/managed-by!=modelservice"
"""Slices of our Services, which carry their labels; without those that name the gateway itself."""

WAKE_REQUESTED_AT = "modelservice.dev/wake-requested-at"
CANARY_SUFFIX = "-canary"
PORT = "http"


class Address(NamedTuple):
    """Where one replica listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Service:
    """What concerns the gateway about a ModelService.

    Attributes:
        serves: False for one that only trains.
        parks: whether it may have no replica while nobody asks.
        hold_seconds: how long a request waits for a replica, None for the gateway's own setting.
        canary_percent: the share of the track canary, 0 to 100.
        wake_requested_at: the annotation as it is stored.
        state: reason of the condition Ready, "" where it is not known.
    """

    ref: Ref
    serves: bool
    suspended: bool
    parks: bool
    hold_seconds: int | None
    canary_percent: int
    wake_requested_at: str
    state: str


@dataclass(frozen=True, slots=True)
class Slice:
    """Ready endpoints of one EndpointSlice."""

    addresses: tuple[Address, ...]


def read_service(obj: Mapping[str, Any]) -> Service:
    """A ModelService as the API server sent it."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    inference = spec.get("inference") or {}
    parking = (inference.get("scaling") or {}).get("scaleToZero") or {}
    canary = status.get("canary") or {}
    ready = (one for one in status.get("conditions") or () if one["type"] == "Ready")
    return Service(
        ref=ref_of(obj),
        serves=bool(inference),
        suspended=bool(spec.get("suspend")),
        parks=inference.get("minReplicas") == 0,
        hold_seconds=parking.get("holdTimeoutSeconds"),
        canary_percent=min(100, max(0, int(canary.get("percent") or 0))),
        wake_requested_at=annotation_of(obj, WAKE_REQUESTED_AT) or "",
        state=next((one.get("reason", "") for one in ready), ""),
    )


def read_slice(obj: Mapping[str, Any]) -> Slice:
    """The endpoints of a slice that take new requests: ready, and not about to go."""
    ports = obj.get("ports") or ()
    port = next((one["port"] for one in ports if one.get("name") == PORT and one.get("port")), None)
    if port is None or obj.get("addressType") == "FQDN":
        return Slice(())
    found = (one["addresses"][0] for one in obj.get("endpoints") or () if _takes_requests(one))
    return Slice(tuple(Address(host, port) for host in found))


def _takes_requests(endpoint: Mapping[str, Any]) -> bool:
    conditions = endpoint.get("conditions") or {}
    return conditions.get("ready") is not False and not conditions.get("terminating")


def by_service(obj: Mapping[str, Any]) -> list[Ref]:
    """Index of slices: the Service that a slice belongs to."""
    name = label_of(obj, SERVICE_NAME)
    return [Ref(obj["metadata"]["namespace"], name)] if name else []
