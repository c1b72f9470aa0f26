"""Models of any size that hold nothing but headers: files with holes, which take no room on a disk."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

WIDTHS = {"BF16": 16, "F16": 16, "F32": 32, "F8_E4M3": 8, "I32": 32, "U8": 8}

Shapes = Mapping[str, tuple[str, tuple[int, ...]]]


def write_safetensors(path: Path, tensors: Shapes) -> None:
    """A file with these tensors by name, each as (datatype, shape)."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (datatype, shape) in tensors.items():
        size = WIDTHS[datatype]
        for one in shape:
            size *= one
        header[name] = {"dtype": datatype, "shape": list(shape), "data_offsets": [at, at + size // 8]}
        at += size // 8
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with path.open("r+b") as file:
        file.truncate(8 + len(text) + at)


def dense(
    layers: int, hidden: int, intermediate: int, vocabulary: int, heads: tuple[int, int, int], datatype: str = "BF16"
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Tensors of a Llama; `heads` are attention heads, those of keys, and their size."""
    attention, keys, size = heads
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {
        "model.embed_tokens.weight": ("BF16", (vocabulary, hidden)),
        "lm_head.weight": ("BF16", (vocabulary, hidden)),
        "model.norm.weight": ("BF16", (hidden,)),
    }
    for layer in range(layers):
        prefix = f"model.layers.{layer}"
        linear = {
            "self_attn.q_proj": (attention * size, hidden),
            "self_attn.k_proj": (keys * size, hidden),
            "self_attn.v_proj": (keys * size, hidden),
            "self_attn.o_proj": (hidden, attention * size),
            "mlp.gate_proj": (intermediate, hidden),
            "mlp.up_proj": (intermediate, hidden),
            "mlp.down_proj": (hidden, intermediate),
        }
        for name, shape in linear.items():
            tensors |= _linear(f"{prefix}.{name}", shape, datatype)
        tensors[f"{prefix}.input_layernorm.weight"] = ("BF16", (hidden,))
        tensors[f"{prefix}.post_attention_layernorm.weight"] = ("BF16", (hidden,))
    return tensors


def _linear(name: str, shape: tuple[int, int], datatype: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    rows, columns = shape
    if datatype == "gptq":
        return {
            f"{name}.qweight": ("I32", (columns // 8, rows)),
            f"{name}.qzeros": ("I32", (columns // 128, rows // 8)),
            f"{name}.scales": ("F16", (columns // 128, rows)),
            f"{name}.g_idx": ("I32", (columns,)),
        }
    scale = {f"{name}.weight_scale": ("BF16", (rows, 1))} if datatype == "F8_E4M3" else {}
    return {f"{name}.weight": (datatype, shape), **scale}


def write_config(directory: Path, **values: Any) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(values))


def gguf(metadata: Mapping[str, Any], tensors: Iterable[tuple[str, tuple[int, ...], int]], size: int) -> bytes:
    """A GGUF header followed by `size` zeros; tensors are (name, dimensions, type)."""
    listed = list(tensors)
    content = b"GGUF" + struct.pack("<IQQ", 3, len(listed), len(metadata))
    for key, value in metadata.items():
        content += _text(key) + _value(value)
    for name, dimensions, kind in listed:
        content += _text(name) + struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
        content += struct.pack("<IQ", kind, 0)
    return content + bytes(-len(content) % 32) + bytes(size)


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    if isinstance(value, list):
        inner = 8 if isinstance(value[0], str) else 4
        body = b"".join(_text(one) if inner == 8 else struct.pack("<I", one) for one in value)
        return struct.pack("<IIQ", 9, inner, len(value)) + body
    return struct.pack("<II", 4, value)
