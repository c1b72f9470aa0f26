"""Find the weights of a directory or file and read what its headers say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from modelservice_workers.common.artifacts import MANIFEST_NAME
from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.common.weightfiles import INDEX_LIMIT_BYTES, read_index
from modelservice_workers.download.listing import RemoteFile
from modelservice_workers.download.selection import SAFETENSORS_INDEX, select
from modelservice_workers.inspection.configuration import read_configuration
from modelservice_workers.inspection.facts import Facts, Weights
from modelservice_workers.inspection.gguf import read_gguf
from modelservice_workers.inspection.onnx import read_onnx
from modelservice_workers.inspection.program import read_program
from modelservice_workers.inspection.tensors import read_tensors

_MOST_FILES: Final = 10_000
_SUFFIXES: Final = {
    ".safetensors": "safetensors",
    ".gguf": "gguf",
    ".onnx": "onnx",
    ".pt2": "torch.export",
}


def inspect(path: Path) -> Facts:
    """What is known of the model at `path`, a directory or one file; raises ArtifactError with one sentence."""
    if not path.exists():
        raise ArtifactError(f"{path} does not exist; name a directory with a model or a file of weights.")
    if path.is_dir():
        kind, names = _choose(path)
        return _read(kind, path, names)
    if path.suffix not in _SUFFIXES:
        raise ArtifactError(f"{path} is none of {', '.join(_SUFFIXES)}; name such a file or the model's directory.")
    return _read(_SUFFIXES[path.suffix], path.parent, (path.name,))


def _choose(directory: Path) -> tuple[str, tuple[str, ...]]:
    """Format and files of one copy of the weights, by the rules by which a model is fetched."""
    files = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            found = Path(folder, name)
            if found.is_file():
                files[found.relative_to(directory).as_posix()] = found.stat().st_size
        if len(files) > _MOST_FILES:
            raise ArtifactError(f"{directory} holds more than {_MOST_FILES:,} files; name the model's own directory.")
    files.pop(MANIFEST_NAME, None)
    index = next((name for name in sorted(files) if name.endswith(SAFETENSORS_INDEX) and "/" not in name), None)
    shards: set[str] = set()
    if index is not None and files[index] <= INDEX_LIMIT_BYTES:
        shards = set(read_index((directory / index).read_bytes(), index).values())
    chosen = select((RemoteFile(name, size) for name, size in files.items()), shards)
    return chosen.format, tuple(sorted(chosen.weights))


def _read(kind: str, directory: Path, names: tuple[str, ...]) -> Facts:
    paths = [directory / name for name in names]
    match kind:
        case "safetensors":
            shape = read_configuration(directory)
            return Facts(kind, names, read_tensors(paths, shape), shape)
        case "gguf":
            weights, shape = read_gguf(paths)
            return Facts(kind, names, weights, shape)
        case "onnx":
            main = next(path for path in paths if path.suffix == ".onnx")
            return Facts(kind, names, read_onnx(main), read_configuration(directory))
        case "torch.export":
            return Facts(kind, names, read_program(paths[0]))
        case "openvino":
            size = sum(path.stat().st_size for path in paths if path.suffix == ".bin")
            note = "Of OpenVINO files only the size of the weights is read."
            return Facts(kind, names, Weights(0, {"unknown": size}, (note,)))
        case _:
            raise ArtifactError(
                f"{directory} holds an archive; unpack it, or name the directory that it was fetched to."
            )
