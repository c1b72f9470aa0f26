"""Weights of safetensors files: parameters and bytes, also where several weights are packed into one element."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.common.weightfiles import DATATYPES, open_layout
from modelservice_workers.inspection.facts import Architecture, Weights

_BITS: Final = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32,
    "U16": 16, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
    "C64": 64,
}  # fmt: skip
_PACKED: Final = ("qweight", "weight_packed", "_blocks")
_NO_WEIGHTS: Final = (
    "qzeros", "scales", "g_idx", "scale", "scale_inv", "scale_2", "zero_point", "weight_shape", "absmax", "quant_map",
    "nested_absmax", "nested_quant_map",
)  # fmt: skip
_HEAD: Final = ("lm_head.weight", "language_model.lm_head.weight", "model.lm_head.weight", "output.weight")
_EMBEDDINGS: Final = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "tok_embeddings.weight")


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    datatype: str
    elements: int
    size: int


def read_tensors(paths: Iterable[Path], shape: Architecture) -> Weights:
    """Count the tensors of all files; the configuration says how many bits a packed weight has.

    Raises ArtifactError with the name of a file whose header cannot be believed.
    """
    tensors = [tensor for path in paths for tensor in _read(path)]
    copy = _copy_of_embeddings(tensors) if shape.tied else None
    notes = []
    if copy is not None:
        notes.append(f"{copy.name} repeats the embeddings and is not loaded twice.")
        tensors.remove(copy)
    bytes_of: dict[str, int] = {}
    parameters, packed = 0, False
    for tensor in tensors:
        bytes_of[tensor.datatype] = bytes_of.get(tensor.datatype, 0) + tensor.size
        parameters += _parameters(tensor, shape.quantization_bits)
        packed |= tensor.datatype not in ("FP64", "FP32", "FP16", "BF16")
    if shape.quantization and not packed and tensors:
        most = max(bytes_of, key=lambda datatype: bytes_of[datatype])
        notes.append(f"config.json speaks of {shape.quantization}, and every tensor is stored as {most}: that counts.")
    return Weights(parameters, bytes_of, tuple(notes))


def _parameters(tensor: _Tensor, bits: int) -> int:
    """The weights that a tensor holds; scales and offsets of quantized ones are none."""
    last = tensor.name.rpartition(".")[2]
    if last.endswith(_PACKED) or (last == "weight" and tensor.datatype == "UINT8"):
        return tensor.size * 8 // (bits or 4)
    if last in _NO_WEIGHTS or last.endswith(("_scale", "_scales", "_zero_point", "_scale_inv", "_scale_2")):
        return 0
    return tensor.elements


def _copy_of_embeddings(tensors: Iterable[_Tensor]) -> _Tensor | None:
    by_name = {tensor.name: tensor for tensor in tensors}
    head = next((by_name[name] for name in _HEAD if name in by_name), None)
    if head is None:
        return None
    embeddings = (one for name, one in by_name.items() if name.endswith(_EMBEDDINGS))
    return head if any(one.elements == head.elements for one in embeddings) else None


def _read(path: Path) -> list[_Tensor]:
    layout = open_layout(path)
    try:
        tensors = [_describe(name, tensor) for name, tensor in layout.tensors.items()]
    except (ValueError, KeyError, TypeError, IndexError, OverflowError):
        raise ArtifactError(f"{path} has a damaged safetensors header; download it again.") from None
    needed = sum(tensor.size for tensor in tensors)
    if needed != layout.data_bytes:
        raise ArtifactError(
            f"{path} does not have the {needed} bytes of tensors that it says it holds, but {layout.data_bytes}; "
            "download it again."
        )
    return tensors


def _describe(name: str, tensor: object) -> _Tensor:
    """One tensor of a header; its shape must account for its bytes."""
    if not isinstance(tensor, dict) or not all(type(size) is int and size >= 0 for size in tensor["shape"]):
        raise ValueError
    start, end = tensor["data_offsets"]
    elements = math.prod(tensor["shape"])
    if type(start) is not int or type(end) is not int or (end - start) * 8 != elements * _BITS[tensor["dtype"]]:
        raise ValueError
    return _Tensor(name, DATATYPES.get(tensor["dtype"], str(tensor["dtype"])), elements, end - start)
