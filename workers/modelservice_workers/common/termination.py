"""The termination message: what a finished container tells the operator, in at most 4 KiB of JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

LIMIT_BYTES: Final = 4096
DEFAULT_PATH: Final = "/dev/termination-log"
PATH_VARIABLE: Final = "MODELSERVICE_TERMINATION_LOG"

_KEPT_CHARACTERS: Final = 256
_LONGEST_CHARACTER_BYTES: Final = 12

Outcome = Literal[
    "Succeeded", "Interrupted", "Failed", "ModelLoadFailed", "RemoteCodeDenied", "UnsupportedHardware", "FetchFailed"
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ArtifactReference:
    """Where an artifact lies, its digest, its size in bytes, and the revision of its source where it has one."""

    path: str
    digest: str
    size_bytes: int
    revision: str = ""


@dataclass(frozen=True, slots=True)
class TerminationMessage:
    """The end of a worker; `metrics` holds decimal strings."""

    outcome: Outcome
    message: str = ""
    artifact: ArtifactReference | None = None
    metrics: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """JSON of at most LIMIT_BYTES: a long message is cut first, then metrics that do not fit are left out."""
        text = self._cut(self.message, self.metrics, _KEPT_CHARACTERS)
        metrics = dict(self.metrics)
        while metrics and len(self._encode(text, metrics)) > LIMIT_BYTES:
            metrics.popitem()
        return self._encode(self._cut(text, metrics, 0), metrics)

    def _cut(self, text: str, metrics: Mapping[str, str], kept: int) -> str:
        while len(text) > kept and (excess := len(self._encode(text, metrics)) - LIMIT_BYTES) > 0:
            text = text[: max(kept, len(text) - 1 - excess // _LONGEST_CHARACTER_BYTES)]
        return text

    def _encode(self, message: str, metrics: Mapping[str, str]) -> bytes:
        document: dict[str, Any] = {"version": 1, "outcome": self.outcome}
        if self.artifact is not None:
            document["artifact"] = {
                "path": self.artifact.path,
                "digest": self.artifact.digest,
                "bytes": self.artifact.size_bytes,
            }
            if self.artifact.revision:
                document["artifact"]["revision"] = self.artifact.revision
        if metrics:
            document["metrics"] = dict(metrics)
        if message:
            document["message"] = message
        return json.dumps(document, separators=(",", ":")).encode()


def write_termination(message: TerminationMessage, environment: Mapping[str, str]) -> None:
    """Write the message where the kubelet reads it; a file that cannot be written is logged, not raised."""
    path = Path(environment.get(PATH_VARIABLE) or DEFAULT_PATH)
    try:
        path.write_bytes(message.to_bytes())
    except OSError as error:
        _log.warning("The termination message could not be written to %s: %s.", path, error.strerror)
