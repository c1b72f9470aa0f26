"""What the server is doing, and the parts that requests need."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from modelservice_workers.common.signature import Signature
from modelservice_workers.serving.batcher import Batcher
from modelservice_workers.serving.engine import ModelInfo
from modelservice_workers.serving.metrics import ServerMetrics
from modelservice_workers.serving.oip.errors import RefusedError, RequestError


class Phase(Enum):
    """Loading: not ready yet. Serving: ready. Draining: still answers, but asks to be left alone."""

    LOADING = "Loading"
    SERVING = "Serving"
    DRAINING = "Draining"


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model behind its queue; `loaded_at` is seconds since 1970."""

    signature: Signature
    info: ModelInfo
    batcher: Batcher
    loaded_at: int


@dataclass(slots=True)
class ServerState:
    """Shared by the routes; changed in the event loop only. `open_requests` counts inference requests."""

    model_name: str
    max_body_bytes: int
    request_timeout_seconds: float
    metrics: ServerMetrics
    phase: Phase = Phase.LOADING
    model: ServedModel | None = None
    open_requests: int = 0

    @property
    def ready(self) -> bool:
        """Whether new requests should be sent here."""
        return self.phase is Phase.SERVING and self.model is not None

    @property
    def waiting(self) -> int:
        """Inference requests in the queue."""
        return self.model.batcher.waiting if self.model is not None else 0

    @property
    def running(self) -> int:
        """Inference requests that were received and are neither queued nor answered."""
        return max(0, self.open_requests - self.waiting)

    def find_model(self, name: str, version: str | None) -> ServedModel:
        """The model of this name, and version where one is given; raises RequestError."""
        if name != self.model_name:
            raise RequestError(404, f"There is no model {name} here; this server has {self.model_name}.")
        if self.model is None:
            raise RefusedError(503, f"Model {name} is still loading; try again soon.", "NotReady")
        if version is not None and version != self.model.info.version:
            raise RequestError(404, f"Model {name} has no version {version}; it has {self.model.info.version}.")
        return self.model
