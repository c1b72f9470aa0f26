"""What the controllers need from the outside world, as Protocols that the adapters implement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from urllib.parse import quote

Object = dict[str, Any]
"""One Kubernetes object as JSON, always with apiVersion, kind and metadata."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Where one kind lives in the Kubernetes API; group "" is the core."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As manifests name it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection or of one object; without a namespace the collection spans all of them."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        where = f"/namespaces/{quote(namespace)}" if self.namespaced and namespace else ""
        what = f"/{quote(name, safe='')}" if name else ""
        return f"{root}{where}/{self.plural}{what}" + (f"/{subresource}" if subresource else "")


OURS = "modelservice.dev"

RESOURCES = {
    resource.kind: resource
    for resource in (
        Resource(OURS, "v1alpha1", "modelservices", "ModelService"),
        Resource(OURS, "v1alpha1", "budgetpolicies", "BudgetPolicy"),
        Resource(OURS, "v1alpha1", "clusterbudgetpolicies", "ClusterBudgetPolicy", namespaced=False),
        Resource(OURS, "v1alpha1", "budgetledgers", "BudgetLedger"),
        Resource(OURS, "v1alpha1", "computepools", "ComputePool", namespaced=False),
        Resource(OURS, "v1alpha1", "modelruntimes", "ModelRuntime", namespaced=False),
        Resource("", "v1", "pods", "Pod"),
        Resource("", "v1", "nodes", "Node", namespaced=False),
        Resource("", "v1", "services", "Service"),
        Resource("", "v1", "configmaps", "ConfigMap"),
        Resource("", "v1", "events", "Event"),
        Resource("", "v1", "namespaces", "Namespace", namespaced=False),
        Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim"),
        Resource("apps", "v1", "deployments", "Deployment"),
        Resource("batch", "v1", "jobs", "Job"),
        Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
        Resource("coordination.k8s.io", "v1", "leases", "Lease"),
        Resource(
            "admissionregistration.k8s.io",
            "v1",
            "validatingadmissionpolicies",
            "ValidatingAdmissionPolicy",
            namespaced=False,
        ),
        Resource(
            "admissionregistration.k8s.io",
            "v1",
            "validatingadmissionpolicybindings",
            "ValidatingAdmissionPolicyBinding",
            namespaced=False,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server said to one request.

    Attributes:
        object: the object as it is stored now (for a delete: the last state, or a Status).
        date: the server's clock when it answered, in whole seconds since the epoch, from its Date header.
    """

    object: Object
    date: int


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects of one kind at one instant.

    Attributes:
        items: the objects.
        resource_version: the version of the collection that the list shows.
        date: the server's clock when it answered the first page, in whole seconds since the epoch.
    """

    items: list[Object]
    resource_version: str
    date: int


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the API server is and how to prove who we are; paths are of PEM files, the token is bare."""

    server: str
    ca_path: str | None
    insecure: bool
    certificate_path: str | None
    private_key_path: str | None
    token: str | None


class KubeClient(Protocol):
    """The verbs used on the Kubernetes API.

    A kind is named as in manifests ("Deployment", "ModelService"); `namespace` is "" for kinds of the cluster. Every
    method raises the classes of `kit.errors` that derive from ApiError: NotFound, Conflict, Invalid, Forbidden,
    TooManyRequests, Unavailable. None of them repeats a request by itself.
    """

    async def list(
        self,
        kind: str,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        chunk: int = 500,
    ) -> Listing:
        """List the objects of a kind in pages of `chunk`; namespace "" means all of them."""
        ...

    async def get(self, kind: str, namespace: str, name: str) -> Answer:
        """Read one object from the quorum, never from a cache."""
        ...

    async def apply(self, obj: Object, *, manager: str, force: bool = True) -> Answer:
        """Server-side apply the full intent of `manager`; a uid or resourceVersion in it is a precondition."""
        ...

    async def create(self, obj: Object, *, manager: str) -> Answer:
        """Create one object; Conflict with reason AlreadyExists when the name is taken."""
        ...

    async def replace(self, obj: Object, *, manager: str) -> Answer:
        """PUT one object; its resourceVersion is the precondition (Conflict when it is not the stored one)."""
        ...

    async def replace_status(self, obj: Object, *, manager: str) -> Answer:
        """PUT the status of one object; its resourceVersion is the precondition."""
        ...

    async def patch_json(
        self, kind: str, namespace: str, name: str, operations: Sequence[Mapping[str, Any]], *, manager: str
    ) -> Answer:
        """Send a JSON patch; a `test` operation that fails raises Invalid."""
        ...

    async def delete(
        self,
        kind: str,
        namespace: str,
        name: str,
        *,
        uid: str,
        resource_version: str | None = None,
        grace_seconds: int | None = None,
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
    ) -> Answer:
        """Delete one object if it still has this uid (and resourceVersion); Conflict when it does not."""
        ...


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of an instant query: its labels, its value and the time of the value in seconds since the epoch."""

    labels: Mapping[str, str]
    value: float
    at: float


class MetricsSource(Protocol):
    """Answers PromQL instant queries."""

    async def query(self, promql: str) -> Sequence[Sample]:
        """Evaluate now; raises kit.errors.Unavailable when there is no usable answer."""
        ...


class EventSink(Protocol):
    """Takes Kubernetes Events about objects; never blocks and never raises."""

    def emit(self, about: Object, *, reason: str, message: str, warning: bool = False) -> None:
        """Tell people one thing that happened to `about`."""
        ...


class Clock(Protocol):
    """Time as the process sees it."""

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        ...

    def wall(self) -> float:
        """Seconds since the epoch by the local clock, which may jump."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait without holding up anybody else."""
        ...
