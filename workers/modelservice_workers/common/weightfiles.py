"""Safetensors weights of a directory, checked before an engine opens them."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from modelservice_workers.common.errors import ArtifactError

WEIGHTS_NAME: Final = "model.safetensors"
INDEX_NAME: Final = "model.safetensors.index.json"

DATATYPES: Final = {
    "F64": "FP64", "F32": "FP32", "F16": "FP16", "BF16": "BF16", "I64": "INT64", "I32": "INT32", "I16": "INT16",
    "I8": "INT8", "U8": "UINT8", "BOOL": "BOOL", "F8_E4M3": "FP8_E4M3", "F8_E5M2": "FP8_E5M2",
}  # fmt: skip

# What is, or may hold, a pickle: reading it can run code.
PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz")

_LFS: Final = b"version https://git-lfs"
_HEADER_LIMIT_BYTES: Final = 100 << 20
INDEX_LIMIT_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One file: elements of each tensor by its name, and their datatypes."""

    elements: Mapping[str, int]
    datatypes: Mapping[str, str]


class HeaderError(ValueError):
    """A file does not begin with the header of safetensors."""


class CutShortError(HeaderError):
    """A file ends before its header does."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The header of one file: tensors by name, bytes of the header, and bytes of tensors that follow it."""

    tensors: Mapping[str, Any]
    header_bytes: int
    data_bytes: int

    @property
    def tensor_bytes(self) -> int:
        """Bytes of tensors that should follow the header; -1 when it does not say."""
        try:
            return max((int(tensor["data_offsets"][1]) for tensor in self.tensors.values()), default=0)
        except (KeyError, TypeError, IndexError, ValueError):
            return -1


def check_weights(directory: Path) -> str:
    """Check that all weights are there and whole; returns the datatype of most of their elements.

    Raises ArtifactError with the name of the file that is at fault.
    """
    sizes: dict[str, int] = {}
    for file in _read_all(directory):
        for name, elements in file.elements.items():
            datatype = file.datatypes[name]
            sizes[datatype] = sizes.get(datatype, 0) + elements
    return max(sizes, key=lambda datatype: sizes[datatype], default="none")


def _read_all(directory: Path) -> list[WeightFile]:
    index = directory / INDEX_NAME
    if index.exists():
        return _read_indexed(directory, index)
    single = directory / WEIGHTS_NAME
    if single.exists():
        return [read_weight_file(single)]
    pickles = sorted(path.name for path in directory.iterdir() if path.suffix in PICKLES)
    if pickles:
        raise ArtifactError(
            f"{directory} has its weights in {pickles[0]}, a pickle that could run code; convert them to safetensors "
            "or export the model with torch.export to a .pt2 file."
        )
    raise ArtifactError(f"{directory} holds no {WEIGHTS_NAME} and no {INDEX_NAME}; download the model again.")


def _read_indexed(directory: Path, index: Path) -> list[WeightFile]:
    places = read_index(_read_content(index), index.name)
    missing = sorted({name for name in places.values() if not (directory / name).exists()})
    if missing:
        raise ArtifactError(
            f"{index} names {len(missing)} files that do not exist, {missing[0]} for one; download the model again."
        )
    files = {name: read_weight_file(directory / name) for name in sorted(set(places.values()))}
    for tensor, name in places.items():
        if tensor not in files[name].elements:
            raise ArtifactError(f"{directory / name} lacks {tensor}, which {index.name} says it holds.")
    return list(files.values())


def _read_content(index: Path) -> bytes:
    try:
        with index.open("rb") as file:
            return file.read(INDEX_LIMIT_BYTES + 1)
    except OSError as error:
        raise ArtifactError(f"{index} cannot be read: {error.strerror}.") from None


def read_index(content: bytes, name: str) -> dict[str, str]:
    """The file of each tensor, as the index called `name` says; raises ArtifactError.

    The files are safetensors in the same directory, so that an index leads nowhere else.
    """
    try:
        places = json.loads(content)["weight_map"] if len(content) <= INDEX_LIMIT_BYTES else None
    except (ValueError, KeyError, TypeError, RecursionError):
        places = None
    if not isinstance(places, dict) or not places or not all(isinstance(place, str) for place in places.values()):
        raise ArtifactError(f"{name} is no index of weights: it holds no weight_map; publish the model again.")
    for place in places.values():
        path = PurePosixPath(place)
        if len(path.parts) != 1 or path.suffix != ".safetensors":
            raise ArtifactError(f"{name} names {place!r}, which is no safetensors file beside it.")
    return places


def is_pointer(path: Path) -> bool:
    """Whether a file is the small text that Git LFS keeps in place of it; raises OSError."""
    with path.open("rb") as file:
        return file.read(len(_LFS)) == _LFS


def read_layout(path: Path) -> Layout:
    """What the header of a safetensors file says; raises OSError, CutShortError or HeaderError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == struct.calcsize("<Q") else size
        if length > min(size - 8, _HEADER_LIMIT_BYTES):
            raise CutShortError
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError):
            header = None
    if not isinstance(header, dict):
        raise HeaderError
    header.pop("__metadata__", None)
    return Layout(header, 8 + length, size - 8 - length)


def open_layout(path: Path) -> Layout:
    """The layout of a safetensors file; raises ArtifactError, which names it, when it cannot be read as one."""
    try:
        if is_pointer(path):
            raise ArtifactError(f"{path} is a Git LFS pointer and no weights; download the file itself.")
        return read_layout(path)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}.") from None
    except HeaderError:
        raise ArtifactError(f"{path} is no safetensors file or is cut short; download it again.") from None


def read_weight_file(path: Path) -> WeightFile:
    """The tensors that a safetensors file says it holds; raises ArtifactError when its bytes cannot be they."""
    layout = open_layout(path)
    try:
        return _describe(layout)
    except (ValueError, KeyError, TypeError):
        raise ArtifactError(
            f"{path} does not have the {layout.tensor_bytes} bytes of tensors that it says it holds, "
            f"but {layout.data_bytes}; download it again."
        ) from None


def _describe(layout: Layout) -> WeightFile:
    elements = {}
    datatypes = {}
    for name, tensor in layout.tensors.items():
        elements[name] = math.prod(tensor["shape"])
        datatypes[name] = DATATYPES.get(tensor["dtype"], str(tensor["dtype"]))
    if layout.tensor_bytes != layout.data_bytes:
        raise ValueError
    return WeightFile(elements, datatypes)
