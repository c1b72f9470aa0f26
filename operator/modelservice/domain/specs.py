"""What people write, as the decisions see it: services, runtimes and pools without their Kubernetes clothes.

Environment variables, volumes and tolerations are kept in the JSON of a pod spec, since only a pod interprets them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from modelservice.domain.demand import Scaling
from modelservice.domain.prices import Billing
from modelservice.domain.priorities import Priority
from modelservice.domain.rollout import Orders, Rule
from modelservice.domain.tariff import Tariff

Json = Mapping[str, Any]

MODEL_FILES: Final = (".pt2", ".onnx", ".gguf")
"""Suffixes of files that are a model each; others are parts of the model that is their directory."""
_COMMIT: Final = re.compile(r"hf://[^/@]+/[^/@]+@(?P<commit>[0-9a-f]{40})(/.*)?")


class Role(StrEnum):
    """What a pod of a service does."""

    INFERENCE = "Inference"
    TRAINING = "Training"


class ServiceName(NamedTuple):
    """Identity of a ModelService."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class ClaimPath:
    """A directory or file on a persistent volume claim of the service's namespace."""

    claim: str
    path: str

    def __str__(self) -> str:
        return f"pvc://{self.claim}/{self.path}"


@dataclass(frozen=True, slots=True)
class Download:
    """A model that each pod fetches before it serves; `secret` names the Secret that opens its place, "" is none."""

    uri: str
    secret: str = ""

    def __str__(self) -> str:
        return self.uri

    @property
    def commit(self) -> str:
        """The commit of the hub that the address itself names, "" where what lies there may become another model."""
        found = _COMMIT.fullmatch(self.uri)
        return found["commit"] if found else ""

    @property
    def file(self) -> str:
        """The name of the model file that the address names, "" for a directory or an archive."""
        name = self.uri.rstrip("/").rpartition("/")[2]
        return name if name.endswith(MODEL_FILES) else ""


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is there already; `remote_code` says whether code that it brings may run."""

    where: ClaimPath | Download
    remote_code: bool = False


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model that can be served; `digest` is empty for one that the user put there.

    `revision` names what lies at the address of a download, "" until the first pod has fetched it.
    """

    where: ClaimPath | Download
    digest: str = ""
    size_bytes: int = 0
    revision: str = ""
    remote_code: bool = False

    @property
    def settled(self) -> bool:
        """Whether it is known which model it is, so that all replicas serve the same."""
        return bool(self.revision) or isinstance(self.where, ClaimPath)


@dataclass(frozen=True, slots=True)
class Workload:
    """The pod of one role as the user describes it; empty `pools` and `accelerators` mean every one.

    An empty `runtime` is chosen by the format of the model.
    """

    runtime: str
    requests: Mapping[str, str]
    limits: Mapping[str, str] = field(default_factory=dict)
    image: str | None = None
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[Json, ...] = ()
    volumes: tuple[Json, ...] = ()
    pools: tuple[str, ...] = ()
    accelerators: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inference:
    """How the model is served: between `minimum` and `maximum` replicas; `model_format` as the user declares it."""

    pod: Workload
    minimum: int
    maximum: int
    scaling: Scaling | None = None
    model_format: str = ""
    rollout: Rule = field(default_factory=Rule)


@dataclass(frozen=True, slots=True)
class Training:
    """A run that makes the model: `files` names a ConfigMap, `backoff_limit` failed attempts are repeated."""

    pod: Workload
    output: ClaimPath
    files: str | None = None
    backoff_limit: int = 3


@dataclass(frozen=True, slots=True)
class Service:
    """One ModelService; `parameter_count` such as 7B, "" when it is not declared."""

    name: ServiceName
    uid: str
    generation: int
    suspended: bool
    model: Model | None
    inference: Inference | None
    training: Training | None
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: Priority = Priority.STANDARD
    parameter_count: str = ""
    orders: Orders = field(default_factory=Orders)


@dataclass(frozen=True, slots=True)
class Engine:
    """How a runtime runs on one type of accelerator; `shared_memory` is the size of /dev/shm."""

    image: str
    args: tuple[str, ...] = ()
    env: tuple[Json, ...] = ()
    command: tuple[str, ...] = ()
    shared_memory: str | None = None


@dataclass(frozen=True, slots=True)
class Probes:
    """Paths that answer 200 while a replica is alive and ready; it has `start` seconds to become alive."""

    live: str = "/v2/health/live"
    ready: str = "/v2/health/ready"
    start: int = 1800


@dataclass(frozen=True, slots=True)
class Drain:
    """How a replica stops: `delay` seconds before the signal, `timeout` seconds after it."""

    delay: int
    timeout: int


@dataclass(frozen=True, slots=True)
class Format:
    """A format of models that a runtime offers to serve on these accelerators, on all of its own when none is named."""

    name: str
    priority: int = 0
    accelerators: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Runtime:
    """One ModelRuntime.

    `series` maps running, waiting and requests to the engine's names of them, of which the first that is there counts.
    """

    name: str
    role: Role
    port: int
    metrics_path: str
    series: Mapping[str, tuple[str, ...]]
    engines: Mapping[str, Engine]
    probes: Probes = Probes()
    drain: Drain | None = None
    formats: tuple[Format, ...] = ()


@dataclass(frozen=True, slots=True)
class Pool:
    """One ComputePool.

    `allocatable` is one node in integers of `quantities`, `tariff` what an hour of it costs; `resource` is the extended
    resource of its accelerators. Of one device `device_memory` bytes can be used, 0 when that is not known; `features`
    are what it computes with, `topology` is how the chips of a slice lie.
    """

    name: str
    currency: str
    accelerator: str
    resource: str | None
    allocatable: Mapping[str, int]
    selector: Mapping[str, str]
    tolerations: tuple[Json, ...]
    tariff: Tariff
    margin_percent: int
    billing: Billing
    start_seconds: int
    device_memory: int = 0
    features: tuple[str, ...] = ()
    topology: str = ""
