"""Checks of fetched weights that need no engine: whole files, whole indexes, and no stand-ins for files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.common.weightfiles import CutShortError, HeaderError, is_pointer, read_index, read_layout


def check_weights(directory: Path, names: Iterable[str]) -> None:
    """Check every file of weights, and every index, of a directory; raises ArtifactError with the file's name."""
    tensors: dict[str, frozenset[str]] = {}
    for name in sorted(names):
        path = directory / name
        if not path.is_file():
            raise ArtifactError(f"{name} is missing; upload it, or the model would answer nonsense.")
        if is_pointer(path):
            raise ArtifactError(
                f"{name} is a Git LFS pointer, not the file itself; run 'git lfs pull' and upload again."
            )
        if name.endswith(".safetensors"):
            tensors[name] = _read_tensors(path, name)
        elif name.endswith(".gguf") and not _starts_with(path, b"GGUF"):
            raise ArtifactError(f"{name} is no GGUF file: its first four bytes are not 'GGUF'.")
    for index in sorted(directory.glob("*.safetensors.index.json")):
        _check_index(index, tensors)


def _read_tensors(path: Path, name: str) -> frozenset[str]:
    try:
        layout = read_layout(path)
    except CutShortError:
        raise ArtifactError(
            f"{name} is no safetensors file, or was cut short in its header; upload it again."
        ) from None
    except HeaderError:
        layout = None
    if layout is None or layout.tensor_bytes < 0:
        raise ArtifactError(f"{name} has a damaged safetensors header; upload it again.")
    if layout.tensor_bytes != layout.data_bytes:
        raise ArtifactError(
            f"{name} has {layout.header_bytes + layout.data_bytes:,} bytes and its header needs "
            f"{layout.header_bytes + layout.tensor_bytes:,}; it was cut short or changed, upload it again."
        )
    return frozenset(layout.tensors)


def _check_index(index: Path, tensors: Mapping[str, frozenset[str]]) -> None:
    for name, shard in sorted(read_index(index.read_bytes(), index.name).items()):
        if shard not in tensors:
            raise ArtifactError(f"{index.name} names files that do not exist: {shard}; upload them or the right index.")
        if name not in tensors[shard]:
            raise ArtifactError(f"{index.name} says that {shard} holds the tensor {name}, and it does not.")


def _starts_with(path: Path, start: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(start)) == start
