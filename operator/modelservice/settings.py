"""What a person may set, read once from the environment: MODELSERVICE_<FIELD>."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelservice import __version__

PREFIX = "MODELSERVICE_"


class SettingsError(Exception):
    """The environment asks for something that is not possible; the message names the variable."""


class ProcessSettings(BaseModel):
    """What every process of ours may be told; frozen. Durations are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: How often every watched kind is listed again.
    resync_seconds: float = Field(default=300.0, ge=1, le=86_400)
    #: Address and port of /healthz, /readyz and /metrics; port 0 takes any free one.
    http_host: str = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus come from outside the pod
    http_port: int = Field(default=8080, ge=0, le=65_535)
    #: Smallest level of log lines.
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    #: Log lines as text for people or as JSON for machines.
    log_format: Literal["Text", "Json"] = "Text"
    #: Path of a kubeconfig; empty means the pod's ServiceAccount, else KUBECONFIG or ~/.kube/config.
    kubeconfig: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read the settings; raises SettingsError with a sentence for each variable that is wrong."""
        env = os.environ if environment is None else environment
        given = {name: env[PREFIX + name.upper()] for name in cls.model_fields if PREFIX + name.upper() in env}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            wrong = (f"{PREFIX}{str(e['loc'][0]).upper()}={e['input']!r}: {e['msg']}." for e in error.errors())
            raise SettingsError(" ".join(wrong)) from None


class Settings(ProcessSettings):
    """The operator's settings."""

    #: Namespace of the operator: its Lease and the book are there.
    namespace: str = Field(default="modelservice-system", min_length=1, max_length=63)
    #: Name of this replica, unique among replicas.
    identity: str = Field(default_factory=socket.gethostname, min_length=1, max_length=253)
    #: Base URL of Prometheus; empty means that services keep minReplicas.
    prometheus_url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    #: Whether a service that no budget covers may not run.
    budget_required: bool = False
    #: Labels of ModelServices by which costs can be grouped, at most 8, separated by spaces: the book copies them.
    cost_labels: str = Field(
        default="team cost-center app.kubernetes.io/part-of",
        pattern=r"^(([-a-zA-Z0-9._]{1,253}/)?[-a-zA-Z0-9._]{1,63} ?){0,8}$",
    )
    #: Names of the ValidatingAdmissionPolicies that keep gates and book, separated by spaces; the guarantee needs them.
    admission_policies: str = Field(default="", pattern=r"^([a-z0-9][a-z0-9.-]* ?)*$")
    #: How many days the page of a sealed period is kept.
    ledger_retention_days: int = Field(default=400, ge=30, le=36_500)
    #: Image of the container that downloads a model before an engine of any runtime starts.
    worker_image: str = Field(default=f"modelservice-worker:{__version__}", pattern=r"^\S+$", max_length=512)
    #: How often the fuse looks at pods and book; a pause of 60 s ends the guarantee.
    fuse_poll_seconds: float = Field(default=10.0, gt=0, le=20)
    #: How often metrics are read and the plan is looked at.
    tick_seconds: float = Field(default=5.0, gt=0, le=300)
    #: How many reconciliations run at once.
    workers: int = Field(default=8, ge=1, le=128)
    #: Whether to wait for a Lease before working; off only where there is one replica for sure.
    leader_election: bool = True
    #: Multiplies the operator's own waits (lease, back-off, batching), so that tests need not wait; 1 in production.
    time_scale: float = Field(default=1.0, gt=0, le=1)


class GatewaySettings(ProcessSettings):
    """The gateway's settings."""

    #: Address and port for requests; port 0 takes any free one.
    gateway_host: str = "0.0.0.0"  # noqa: S104 - clients come from outside the pod
    gateway_port: int = Field(default=8000, ge=0, le=65_535)
    #: How long a request waits for a replica, where its service does not say.
    hold_timeout_seconds: int = Field(default=600, ge=1, le=3600)
    #: Requests that may wait for one service.
    max_held_requests: int = Field(default=1000, ge=0, le=100_000)
    #: Open connections of clients.
    max_connections: int = Field(default=4096, ge=1, le=65_000)
    #: The largest body of a request.
    max_body_bytes: int = Field(default=64 * 2**20, ge=0, le=2**40)
    #: How much of a body is read before a replica is asked; a request that fits can be sent to a second one.
    kept_body_bytes: int = Field(default=2**20, ge=1024, le=2**20)
    #: The same for all requests together.
    kept_total_bytes: int = Field(default=256 * 2**20, ge=0, le=2**40)
    #: How long a client's connection may lie idle.
    idle_timeout_seconds: float = Field(default=75.0, gt=0, le=3600)
    #: How long the head of a request may take.
    head_timeout_seconds: float = Field(default=10.0, gt=0, le=600)
    #: How long each kept part of a body may take to come, and each part of an answer to be taken.
    client_timeout_seconds: float = Field(default=60.0, gt=0, le=3600)
    #: How long a connection to a replica may take.
    connect_timeout_seconds: float = Field(default=3.0, gt=0, le=60)
    #: How long a replica may send nothing.
    replica_timeout_seconds: float = Field(default=600.0, gt=0, le=86_400)
    #: How long requests are still taken after SIGTERM, while load balancers notice.
    drain_delay_seconds: float = Field(default=5.0, ge=0, le=600)
    #: How long open and held requests have to end after that.
    drain_timeout_seconds: float = Field(default=60.0, ge=0, le=3600)
