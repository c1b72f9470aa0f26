"""Loading a model: verify the artifact, build the engine, warm it up."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelservice_workers.common.artifacts import (
    EXPORT_FORMAT,
    MANIFEST_NAME,
    MODEL_NAME,
    file_digest,
    read_stored,
)
from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.common.signature import Signature
from modelservice_workers.serving.engine import Engine, ModelInfo
from modelservice_workers.serving.warmup import warm_up

PLATFORM: Final = "pytorch_torch_export"
_UNVERSIONED: Final = "1"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """An engine that is ready to compute, and what is known about it.

    Batches of up to `inline_rows` rows take less time than waking another thread.
    """

    engine: Engine
    info: ModelInfo
    inline_rows: int = 0


@dataclass(frozen=True, slots=True)
class _Source:
    file: Path
    names: Signature | None
    version: str
    digest: str


def load_model(path: Path, threads: int, max_batch_rows: int) -> LoadedModel:
    """Load and warm up the artifact directory or .pt2 file at `path`.

    Call it in the thread that will compute, since `threads` is set for that thread. Raises ArtifactError.
    """
    source = _find_source(path)
    # torch takes seconds to import; the server answers health checks meanwhile.
    import torch  # noqa: PLC0415

    from modelservice_workers.common.program import load_program  # noqa: PLC0415
    from modelservice_workers.serving.torch_engine import TorchEngine  # noqa: PLC0415

    program = load_program(source.file)
    signature = program.signature.renamed(source.names) if source.names is not None else program.signature
    engine = TorchEngine(program, signature, threads)
    info = ModelInfo(source.version, "torch", torch.__version__, PLATFORM, program.dtype, source.digest)
    return LoadedModel(engine, info, warm_up(engine, max_batch_rows))


def _find_source(path: Path) -> _Source:
    if path.is_dir():
        stored = read_stored(path)
        manifest = stored.manifest
        if manifest.format != EXPORT_FORMAT:
            raise ArtifactError(
                f"{path} has the format {manifest.format!r} and this worker loads {EXPORT_FORMAT!r}; "
                "export the model with torch.export."
            )
        if MODEL_NAME not in manifest.digests:
            raise ArtifactError(f"{path / MANIFEST_NAME} gives no digest for {MODEL_NAME}; publish the artifact again.")
        lineage = manifest.lineage
        version = f"{lineage['run']}-{lineage['attempt']}" if {"run", "attempt"} <= lineage.keys() else _UNVERSIONED
        return _Source(path / MODEL_NAME, manifest.signature, version, stored.digest)
    if not path.exists():
        raise ArtifactError(f"{path} does not exist; check the storage URI and that the volume holds it.")
    if not path.is_file():
        raise ArtifactError(f"{path} is neither a directory nor a file; point the storage URI at an artifact.")
    return _Source(path, None, _UNVERSIONED, file_digest(path))
