"""Checks of fetched weights that need no engine: whole files, whole indexes, and no stand-ins for files."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from modelservice_workers.common.errors import ArtifactError

_POINTER: Final = b"version https://git-lfs.github.com/spec/"
_HEADER_LIMIT_BYTES: Final = 100_000_000


def check_weights(directory: Path, names: Iterable[str]) -> None:
    """Check every file of weights, and every index, of a directory; raises ArtifactError with the file's name."""
    tensors: dict[str, frozenset[str]] = {}
    for name in sorted(names):
        path = directory / name
        if not path.is_file():
            raise ArtifactError(f"{name} is missing; upload it, or the model would answer nonsense.")
        check_no_pointer(path, name)
        if name.endswith(".safetensors"):
            tensors[name] = frozenset(read_header(path, name))
        elif name.endswith(".gguf") and not _starts_with(path, b"GGUF"):
            raise ArtifactError(f"{name} is no GGUF file: its first four bytes are not 'GGUF'.")
    for index in sorted(directory.glob("*.safetensors.index.json")):
        _check_index(index, tensors)


def check_no_pointer(path: Path, name: str) -> None:
    """Refuse the small text that Git LFS keeps in place of a file."""
    if _starts_with(path, _POINTER):
        raise ArtifactError(f"{name} is a Git LFS pointer, not the file itself; run 'git lfs pull' and upload again.")


def read_header(path: Path, name: str) -> Mapping[str, Any]:
    """The tensors of a safetensors file, whose size must be what its header says; raises ArtifactError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else _HEADER_LIMIT_BYTES + 1  # noqa: PLR2004
        if length > min(size - 8, _HEADER_LIMIT_BYTES):
            raise ArtifactError(f"{name} is no safetensors file, or was cut short in its header; upload it again.")
        try:
            header = json.loads(file.read(length))
            tensors = {key: value for key, value in header.items() if key != "__metadata__"}
            end = max((int(value["data_offsets"][1]) for value in tensors.values()), default=0)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            raise ArtifactError(f"{name} has a damaged safetensors header; upload it again.") from None
    if size != 8 + length + end:
        raise ArtifactError(
            f"{name} has {size:,} bytes and its header needs {8 + length + end:,}; it was cut short or changed, "
            "upload it again."
        )
    return tensors


def _check_index(index: Path, tensors: Mapping[str, frozenset[str]]) -> None:
    for name, shard in sorted(read_index(index.read_bytes(), index.name).items()):
        if shard not in tensors:
            raise ArtifactError(f"{index.name} names files that do not exist: {shard}; upload them or the right index.")
        if name not in tensors[shard]:
            raise ArtifactError(f"{index.name} says that {shard} holds the tensor {name}, and it does not.")


def read_index(content: bytes, name: str) -> dict[str, str]:
    """The file of each tensor, as an index of safetensors says; raises ArtifactError."""
    try:
        weight_map = json.loads(content)["weight_map"]
        return {str(tensor): str(shard) for tensor, shard in weight_map.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ArtifactError(f"{name} is no index of safetensors: it holds no weight_map; upload it again.") from None


def _starts_with(path: Path, start: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(start)) == start
