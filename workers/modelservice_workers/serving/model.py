"""Loading a model: verify the artifact, build the engine, warm it up."""

from __future__ import annotations

import logging
from collections.abc import Iterator
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

PLATFORM: Final = "pytorch_torch_export"
_UNVERSIONED: Final = "1"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """An engine that is ready to compute, and what is known about it."""

    engine: Engine
    info: ModelInfo


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
    _warm_up(engine, max_batch_rows)
    return LoadedModel(
        engine,
        ModelInfo(source.version, "torch", torch.__version__, PLATFORM, program.dtype, source.digest),
    )


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


def _warm_up(engine: Engine, max_batch_rows: int) -> None:
    for rows in _batch_sizes(engine.signature, max_batch_rows):
        try:
            engine.run(engine.example(rows))
        except Exception as error:
            lines = str(error).strip().splitlines()
            raise ArtifactError(
                f"The model failed on {rows} of its own example rows: {lines[0] if lines else type(error).__name__}"
            ) from error


def _batch_sizes(signature: Signature, max_batch_rows: int) -> Iterator[int]:
    rows = signature.rows
    if rows is None:
        yield 1
        return
    largest = max_batch_rows if rows.largest is None else min(max_batch_rows, rows.largest)
    size = 1
    while size < largest:
        if size >= rows.smallest:
            yield size
        size *= 2
    yield max(largest, rows.smallest)
