"""The shape of a transformer from config.json, which each family writes with its own names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.inspection.facts import Architecture, Cache

CONFIG_NAME: Final = "config.json"

_LIMIT_BYTES: Final = 16 << 20
_MOST: Final = 1 << 31
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "heads": ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num"),
    "hidden": ("hidden_size", "n_embd", "d_model", "dim"),
    "intermediate": ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size", "hidden_dim", "d_ff"),
    "vocabulary": ("vocab_size", "padded_vocab_size"),
    "context": ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length", "n_ctx"),
    "experts": ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"),
}
_GENERATES: Final = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
_BITS: Final = {"fp8": 8, "fbgemm_fp8": 8, "awq": 4, "mxfp4": 4, "nvfp4": 4}


def read_configuration(directory: Path) -> Architecture:
    """The shape that config.json tells, an empty one without the file; raises ArtifactError."""
    path = directory / CONFIG_NAME
    try:
        content = path.read_bytes() if path.stat().st_size <= _LIMIT_BYTES else b""
        document = json.loads(content)
    except FileNotFoundError:
        return Architecture()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ArtifactError(f"{path} is no JSON object of at most 16 MiB; download it again.")
    return _shape(document, path)


def _shape(document: Mapping[str, Any], path: Path) -> Architecture:
    text: Mapping[str, Any] = next(
        (document[key] for key in ("text_config", "llm_config") if isinstance(document.get(key), dict)), {}
    )
    # A part of a model that sees images says of itself what is not in the whole.
    flat = {**document, **{name: value for name, value in text.items() if value is not None}}

    def number(what: str) -> int:
        return next((n for name in _NAMES[what] if (n := _whole(flat.get(name), name, path))), 0)

    names = document.get("architectures")
    name = str(names[0]) if isinstance(names, list) and names else str(document.get("model_type", ""))
    quantization, bits = _quantization(document, path)
    shape = {what: number(what) for what in ("layers", "heads", "hidden", "intermediate", "vocabulary", "experts")}
    return Architecture(
        name=name[:128],
        **shape,
        context_limit=number("context"),
        vision=any(isinstance(document.get(key), dict) for key in ("vision_config", "vision_encoder")),
        quantization=quantization,
        quantization_bits=bits,
        tied=flat.get("tie_word_embeddings") is True,
        cache=_cache(flat, shape, number("kv_heads"), path) if name.endswith(_GENERATES) else None,
    )


def _cache(flat: Mapping[str, Any], shape: Mapping[str, int], kv_heads: int, path: Path) -> Cache | None:
    layers, heads, hidden = shape["layers"], shape["heads"], shape["hidden"]
    if not layers or not heads:
        return None
    kept, sliding, window = _kept(flat, layers, path)
    if latent := _whole(flat.get("kv_lora_rank"), "kv_lora_rank", path):
        rope = _whole(flat.get("qk_rope_head_dim"), "qk_rope_head_dim", path)
        return Cache(kept, latent=latent + rope, sliding=sliding, window=window)
    size = _whole(flat.get("head_dim"), "head_dim", path) or hidden // heads
    if not size:
        return None
    if flat.get("multi_query") is True and not flat.get("new_decoder_architecture"):
        kv_heads = kv_heads if kv_heads and "num_key_value_heads" in flat else 1
    return Cache(kept, kv_heads or heads, size, size, sliding=sliding, window=window)


def _kept(flat: Mapping[str, Any], layers: int, path: Path) -> tuple[int, int, int]:
    """Layers that keep something of each token, how many of them only of the last ones, and of how many."""
    window = _whole(flat.get("sliding_window"), "sliding_window", path)
    window = 0 if flat.get("use_sliding_window") is False else window
    types = flat.get("layer_types")
    if isinstance(types, list) and len(types) == layers and all(isinstance(one, str) for one in types):
        keeping = sum(one.endswith("attention") and "linear" not in one for one in types)
        return keeping, sum("sliding" in one for one in types) if window else 0, window
    if not window:
        return layers, 0, 0
    pattern = _whole(flat.get("sliding_window_pattern"), "sliding_window_pattern", path)
    pattern = 2 if not pattern and flat.get("model_type") == "gemma2" else pattern
    return layers, layers - layers // pattern if pattern else layers, window


def _quantization(document: Mapping[str, Any], path: Path) -> tuple[str, int]:
    """The method that the configuration names and the bits of a weight, 0 where it does not say."""
    given = document.get("quantization_config")
    if not isinstance(given, dict):
        return "", 0
    method = str(given.get("quant_method", "unknown"))[:32].lower()
    bits = _whole(given.get("bits") or given.get("w_bit"), "quantization_config.bits", path)
    if given.get("load_in_4bit") is True or given.get("load_in_8bit") is True:
        bits = 4 if given.get("load_in_4bit") is True else 8
    groups = given.get("config_groups")
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        if not bits and isinstance(weights, dict):
            bits = _whole(weights.get("num_bits"), "num_bits", path)
    return method, bits or _BITS.get(method, 0)


def _whole(value: Any, name: str, path: Path) -> int:
    """A number of the configuration, 0 where there is none."""
    if value is None or isinstance(value, bool):
        return 0
    if not isinstance(value, int) or not 0 <= value < _MOST:
        raise ArtifactError(f"{path} gives {str(value)[:40]!r} for {name}, which must be a whole number; correct it.")
    return value
