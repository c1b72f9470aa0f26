"""GGUF files: their metadata and the list of their tensors, versions 2 and 3 of the format, little-endian."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.inspection.facts import Architecture, Cache, Weights

_MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_STRING, _ARRAY = 8, 9
_SCALARS: Final = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_MOST_DIMENSIONS: Final = 8
_KEPT_LENGTH: Final = 4096
# Name, elements of a block, bytes of a block.
_TYPES: Final[Mapping[int, tuple[str, int, int]]] = {
    0: ("FP32", 1, 4), 1: ("FP16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("INT8", 1, 1), 25: ("INT16", 1, 2), 26: ("INT32", 1, 4), 27: ("INT64", 1, 8), 28: ("FP64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}  # fmt: skip


class _DamagedError(ValueError):
    """The file is not what its header says."""


@dataclass(slots=True)
class _Header:
    metadata: dict[str, Any] = field(default_factory=dict)
    parameters: int = 0
    bytes_of: dict[str, int] = field(default_factory=dict)


def read_gguf(paths: Iterable[Path]) -> tuple[Weights, Architecture]:
    """Weights of all parts of a model and its shape; raises ArtifactError with the name of a damaged file."""
    headers = [_read(path) for path in paths]
    bytes_of: dict[str, int] = {}
    for header in headers:
        for datatype, size in header.bytes_of.items():
            bytes_of[datatype] = bytes_of.get(datatype, 0) + size
    weights = Weights(sum(header.parameters for header in headers), bytes_of)
    return weights, _shape({key: value for header in reversed(headers) for key, value in header.metadata.items()})


def _shape(metadata: Mapping[str, Any]) -> Architecture:
    name = str(metadata.get("general.architecture", ""))

    def number(key: str) -> int:
        value = metadata.get(f"{name}.{key}", 0)
        value = max((each for each in value if type(each) is int), default=0) if isinstance(value, list) else value
        return value if type(value) is int and 0 <= value < 1 << 31 else 0

    layers, heads, hidden = number("block_count"), number("attention.head_count"), number("embedding_length")
    size = hidden // heads if heads else 0
    cache = None
    if latent := number("attention.kv_lora_rank"):
        cache = Cache(layers, latent=latent + number("rope.dimension_count"))
    elif layers and size and f"{name}.pooling_type" not in metadata:
        keys, values = number("attention.key_length") or size, number("attention.value_length") or size
        cache = Cache(layers, number("attention.head_count_kv") or heads, keys, values)
    return Architecture(
        name=name[:128],
        layers=layers,
        heads=heads,
        hidden=hidden,
        intermediate=number("feed_forward_length"),
        vocabulary=number("vocab_size") or int(metadata.get("tokenizer.ggml.tokens", 0)),
        context_limit=number("context_length"),
        experts=number("expert_count"),
        cache=cache,
    )


def _read(path: Path) -> _Header:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            return _Reader(file, size).read()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}.") from None
    except (_DamagedError, struct.error, OverflowError, MemoryError) as error:
        why = f": {error}" if isinstance(error, _DamagedError) else ": its header is cut short"
        raise ArtifactError(f"{path} is no whole GGUF file{why}; download it again.") from None


@dataclass(slots=True)
class _Reader:
    """Reads one header; no length in it is believed beyond the size of the file."""

    file: BinaryIO
    size: int

    def read(self) -> _Header:
        if self.file.read(4) != _MAGIC:
            raise _DamagedError("its first four bytes are not 'GGUF'")
        version = self._number("<I")
        if version not in _VERSIONS:
            raise _DamagedError(f"it has version {version}, and versions 2 and 3 are known")
        tensors, pairs = self._count(), self._count()
        header = _Header()
        for _ in range(pairs):
            key = self._text()
            value = self._value(self._number("<I"))
            if key == "tokenizer.ggml.tokens":
                value = len(value) if isinstance(value, list) else value
            header.metadata[key] = value
        end = 0
        for _ in range(tensors):
            end = max(end, self._tensor(header))
        alignment = header.metadata.get("general.alignment", 32)
        alignment = alignment if type(alignment) is int and 0 < alignment <= 1 << 20 else 32
        if sum(header.bytes_of.values()) > self.size:
            raise _DamagedError("its tensors are larger than the file")
        start = -(-self.file.tell() // alignment) * alignment
        if start + end > self.size and end:
            raise _DamagedError(f"it has {self.size:,} bytes and its tensors end at {start + end:,}")
        return header

    def _tensor(self, header: _Header) -> int:
        """Count one tensor; returns where it ends, from the begin of the data."""
        self._text()
        dimensions = self._number("<I")
        if dimensions > _MOST_DIMENSIONS:
            raise _DamagedError(f"a tensor has {dimensions} dimensions")
        elements = 1
        for _ in range(dimensions):
            elements *= self._number("<Q")
        kind, offset = self._number("<I"), self._number("<Q")
        if kind not in _TYPES:
            raise _DamagedError(f"a tensor has the type {kind}, which is not known here")
        name, block, block_bytes = _TYPES[kind]
        size = -(-elements // block) * block_bytes
        if size > self.size:
            raise _DamagedError("a tensor is larger than the file")
        header.parameters += elements
        header.bytes_of[name] = header.bytes_of.get(name, 0) + size
        return int(offset + size)

    def _value(self, kind: int, depth: int = 0) -> Any:
        if kind == _STRING:
            return self._text()
        if kind in _SCALARS:
            return self._number(_SCALARS[kind])
        if kind != _ARRAY or depth > 1:
            raise _DamagedError(f"a value has the type {kind}, which is not known here")
        inner, count = self._number("<I"), self._count()
        if inner in _SCALARS and count > _KEPT_LENGTH:
            self._skip(struct.calcsize(_SCALARS[inner]) * count)
            return [None] * count
        return [self._value(inner, depth + 1) for _ in range(count)]

    def _text(self) -> str:
        length = self._count()
        return self._take(length).decode("utf-8", "replace")

    def _count(self) -> int:
        """A number of things of at least one byte each, so no more than the file has bytes."""
        count = self._number("<Q")
        if count > self.size:
            raise _DamagedError(f"it speaks of {count:,} things in {self.size:,} bytes")
        return int(count)

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _skip(self, length: int) -> None:
        if self.file.tell() + length > self.size:
            raise _DamagedError("its header is cut short")
        self.file.seek(length, 1)

    def _take(self, length: int) -> bytes:
        content = self.file.read(length)
        if len(content) != length:
            raise _DamagedError("its header is cut short")
        return content
