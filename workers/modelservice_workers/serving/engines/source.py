"""Where a model comes from and what loading it may do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelservice_workers.common.signature import Signature
from modelservice_workers.serving.engine import Engine


@dataclass(frozen=True, slots=True)
class Source:
    """A verified artifact: its file, or its directory, and what its manifest says of it.

    `names` and `dtype` are None where there is no manifest or it does not say.
    """

    path: Path
    format: str
    engine: str
    version: str
    digest: str
    names: Signature | None = None
    dtype: str | None = None

    def name_tensors(self, signature: Signature) -> Signature:
        """The model's own signature with the manifest's names; raises ArtifactError when the two do not agree."""
        return signature if self.names is None else signature.renamed(self.names)


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """Threads to compute with, CPU features to count on, and whether code of the artifact may run."""

    threads: int
    max_batch_rows: int
    features: frozenset[str]
    remote_code: bool = False


@dataclass(frozen=True, slots=True)
class LoadedEngine:
    """An engine and the facts that only it knows; `dtype` is that of most weights, `task` as in ModelInfo."""

    engine: Engine
    engine_version: str
    platform: str
    dtype: str
    task: str = ""
