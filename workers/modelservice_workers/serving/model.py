"""Loading a model: verify the artifact, choose and build the engine, warm it up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelservice_workers.common.artifacts import (
    MANIFEST_NAME,
    bytes_digest,
    file_digest,
    list_files,
    read_stored,
)
from modelservice_workers.common.cpufeatures import check_dtype
from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.serving.engine import Engine, ModelInfo
from modelservice_workers.serving.engines.catalog import (
    HUGGINGFACE_FORMAT,
    MODEL_FILES,
    SELF_CONTAINED,
    SUFFIXES,
    choose_engine,
    load_engine,
)
from modelservice_workers.serving.engines.source import LoadOptions, Source
from modelservice_workers.serving.warmup import warm_up

_UNVERSIONED: Final = "1"
_HUGGINGFACE_CONFIG: Final = "config.json"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """An engine that is ready to compute, and what is known about it.

    Requests may be merged while `merge`; batches of up to `inline_rows` rows take less time than waking a thread.
    """

    engine: Engine
    info: ModelInfo
    merge: bool = True
    inline_rows: int = 0


def load_model(path: Path, options: LoadOptions) -> LoadedModel:
    """Load and warm up the artifact directory or model file at `path`.

    Call it in the thread that will compute. Raises ArtifactError, or HardwareError for what this CPU cannot do.
    """
    source = find_source(path)
    if source.dtype is not None:
        check_dtype(source.dtype, options.features)
    loaded = load_engine(source, options)
    check_dtype(loaded.dtype, options.features)
    warm = warm_up(loaded.engine, options.max_batch_rows)
    info = ModelInfo(
        source.version,
        source.engine,
        loaded.engine_version,
        loaded.platform,
        loaded.dtype,
        source.digest,
        loaded.task,
    )
    return LoadedModel(loaded.engine, info, warm.merge, warm.inline_rows)


def find_source(path: Path) -> Source:
    """What `path` holds, its files verified where a manifest lists them; raises ArtifactError."""
    if path.is_dir():
        if not (path / MANIFEST_NAME).exists() and (path / _HUGGINGFACE_CONFIG).exists():
            return _bare(path, HUGGINGFACE_FORMAT, _tree_digest(path))
        return _published(path)
    if not path.exists():
        raise ArtifactError(f"{path} does not exist; check the storage URI and that the volume holds it.")
    if not path.is_file():
        raise ArtifactError(f"{path} is neither a directory nor a file; point the storage URI at an artifact.")
    if path.suffix not in SUFFIXES:
        raise ArtifactError(f"{path} is no model that this worker loads by itself: {', '.join(SUFFIXES)}.")
    return _bare(path, SUFFIXES[path.suffix], file_digest(path))


def _bare(path: Path, name: str, digest: str) -> Source:
    return Source(path, name, choose_engine(name, None), _UNVERSIONED, digest)


def _published(path: Path) -> Source:
    stored = read_stored(path)
    manifest = stored.manifest
    engine = choose_engine(manifest.format, manifest.engine)
    name = MODEL_FILES[manifest.format]
    if name is not None and name not in manifest.digests:
        raise ArtifactError(f"{path / MANIFEST_NAME} gives no digest for {name}; publish the artifact again.")
    if manifest.format not in SELF_CONTAINED:
        unlisted = sorted({each for each, _ in list_files(path)} - manifest.digests.keys() - {MANIFEST_NAME})
        if unlisted:
            raise ArtifactError(f"{path} holds {unlisted[0]}, which its manifest does not list; publish it again.")
    lineage = manifest.lineage
    version = f"{lineage['run']}-{lineage['attempt']}" if {"run", "attempt"} <= lineage.keys() else _UNVERSIONED
    return Source(
        path if name is None else path / name,
        manifest.format,
        engine,
        version,
        stored.digest,
        manifest.signature,
        manifest.dtype,
    )


def _tree_digest(directory: Path) -> str:
    lines = [f"{file_digest(path)} {name}\n" for name, path in list_files(directory)]
    return bytes_digest("".join(sorted(lines)).encode())
