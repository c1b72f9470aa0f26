"""ONNX models: the initializers of the graph, read from the protocol buffer without a library and without the data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.inspection.facts import Weights

# Field numbers of onnx.proto.
_GRAPH: Final = 7
_INITIALIZER: Final = 5
_DIMS, _DATA_TYPE, _EXTERNAL, _LOCATION = 1, 2, 13, 14
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT: Final = 10
_MOST_TEXT: Final = 4096
_MOST_DIGITS: Final = 19

_TYPES: Final = {
    1: ("FP32", 32), 2: ("UINT8", 8), 3: ("INT8", 8), 4: ("UINT16", 16), 5: ("INT16", 16), 6: ("INT32", 32),
    7: ("INT64", 64), 9: ("BOOL", 8), 10: ("FP16", 16), 11: ("FP64", 64), 12: ("UINT32", 32), 13: ("UINT64", 64),
    16: ("BF16", 16), 17: ("FP8_E4M3", 8), 18: ("FP8_E4M3FNUZ", 8), 19: ("FP8_E5M2", 8), 20: ("FP8_E5M2FNUZ", 8),
    21: ("UINT4", 4), 22: ("INT4", 4), 23: ("FP4", 4),
}  # fmt: skip


class _DamagedError(ValueError):
    """The bytes are no protocol buffer of a model."""


@dataclass(frozen=True, slots=True)
class _Field:
    """One field of a message: a number for a varint, else the range of the file that holds it."""

    number: int
    kind: int
    value: int = 0
    start: int = 0
    end: int = 0


def read_onnx(path: Path) -> Weights:
    """Count the initializers; weights that lie in files beside it must be there. Raises ArtifactError."""
    try:
        with path.open("rb") as file:
            return _Reader(file, path.stat().st_size, path).read()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}.") from None
    except (_DamagedError, OverflowError) as error:
        raise ArtifactError(f"{path} is no whole ONNX file: {error}; export or download it again.") from None


@dataclass(frozen=True, slots=True)
class _Reader:
    file: BinaryIO
    size: int
    path: Path

    def read(self) -> Weights:
        bytes_of: dict[str, int] = {}
        parameters, graphs = 0, 0
        for field in self._fields(0, self.size):
            if field.number != _GRAPH or field.kind != _BYTES:
                continue
            graphs += 1
            for inner in self._fields(field.start, field.end):
                if inner.number == _INITIALIZER and inner.kind == _BYTES:
                    datatype, elements, size = self._initializer(inner)
                    bytes_of[datatype] = bytes_of.get(datatype, 0) + size
                    parameters += elements
        if graphs != 1:
            raise _DamagedError("it holds no graph")
        return Weights(parameters, bytes_of)

    def _initializer(self, message: _Field) -> tuple[str, int, int]:
        """Datatype, elements and bytes; the bytes must be in the message or in a file beside the model."""
        dimensions: list[int] = []
        kind, external, entries = 0, False, dict[str, str]()
        for field in self._fields(message.start, message.end):
            if field.number == _DIMS:
                dimensions += [field.value] if field.kind == _VARINT else self._packed(field)
            elif field.number == _DATA_TYPE and field.kind == _VARINT:
                kind = field.value
            elif field.number == _LOCATION and field.kind == _VARINT:
                external = field.value == 1
            elif field.number == _EXTERNAL and field.kind == _BYTES:
                entries.update([self._entry(field)])
        if kind not in _TYPES:
            raise _DamagedError(f"an initializer has the type {kind}, which is not known here")
        datatype, bits = _TYPES[kind]
        elements = math.prod(dimensions)
        size = -(-elements * bits // 8)
        if external:
            self._check_external(entries, size)
        elif elements > 8 * (message.end - message.start):
            raise _DamagedError("an initializer says that it is larger than it is")
        return datatype, elements, size

    def _check_external(self, entries: dict[str, str], size: int) -> None:
        name, offset = entries.get("location", ""), entries.get("offset", "0")
        inside = PurePosixPath(name)
        if not inside.parts or inside.is_absolute() or ".." in inside.parts or "\0" in name:
            raise _DamagedError(f"it has weights at {name[:80]!r}, which lies outside of the model")
        beside = self.path.parent / name
        if not beside.is_file():
            raise ArtifactError(f"{beside} is missing although {self.path.name} has weights there; download it too.")
        start = int(offset) if offset.isdecimal() and len(offset) <= _MOST_DIGITS else 0
        if start + size > beside.stat().st_size:
            raise ArtifactError(
                f"{beside} has {beside.stat().st_size:,} bytes and {self.path.name} needs {start + size:,} of it; "
                "download it again."
            )

    def _entry(self, message: _Field) -> tuple[str, str]:
        texts = {field.number: self._text(field) for field in self._fields(message.start, message.end)}
        return texts.get(_ENTRY_KEY, ""), texts.get(_ENTRY_VALUE, "")

    def _text(self, field: _Field) -> str:
        length = field.end - field.start
        if field.kind != _BYTES or length > _MOST_TEXT:
            raise _DamagedError("the place of its weights is no text")
        self.file.seek(field.start)
        return self.file.read(length).decode("utf-8", "replace")

    def _packed(self, field: _Field) -> list[int]:
        if field.kind != _BYTES or field.end - field.start > _MOST_TEXT:
            raise _DamagedError("an initializer has no list of dimensions")
        values, at = [], field.start
        while at < field.end:
            value, at = self._varint(at, field.end)
            values.append(value)
        return values

    def _fields(self, start: int, end: int) -> Iterator[_Field]:
        at = start
        while at < end:
            key, at = self._varint(at, end)
            number, kind = key >> 3, key & 7
            if kind == _VARINT:
                value, at = self._varint(at, end)
                yield _Field(number, kind, value)
                continue
            if kind == _BYTES:
                length, at = self._varint(at, end)
            else:
                length = {_FIXED64: 8, _FIXED32: 4}.get(kind, -1)
            if length < 0 or not number or at + length > end:
                raise _DamagedError("its fields do not fit into it")
            yield _Field(number, kind, start=at, end=at + length)
            at += length

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        self.file.seek(at)
        value = 0
        for position, byte in enumerate(self.file.read(min(_LONGEST_VARINT, end - at))):
            value |= (byte & 0x7F) << (7 * position)
            if byte < 0x80:  # noqa: PLR2004 - the highest bit says that more follow
                return value, at + position + 1
        raise _DamagedError("it is cut short")
