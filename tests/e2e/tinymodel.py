"""Writes a llama model of half a megabyte with random weights: `python tinymodel.py FILE`. It speaks, without sense."""

import sys
from pathlib import Path

import gguf
import numpy as np

WIDTH, LAYERS, HEADS, INNER, CONTEXT = 64, 2, 4, 128, 512
BYTES = [f"<0x{value:02X}>" for value in range(256)]
LETTERS = [chr(value) for value in range(ord("a"), ord("z") + 1)]
TOKENS = ["<unk>", "<s>", "</s>", *BYTES, *LETTERS, *(f"\u2581{letter}" for letter in LETTERS), "\u2581"]
TYPES = [
    *(gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL),
    *(gguf.TokenType.BYTE for _ in BYTES),
    *(gguf.TokenType.NORMAL for _ in TOKENS[3 + len(BYTES) :]),
]


def write(path: Path) -> None:
    """Write the model; the same one each time."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(TOKENS)
    writer.add_token_scores([0.0] * len(TOKENS))
    writer.add_token_types(TYPES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    random = np.random.default_rng(1)

    def add(name: str, *shape: int) -> None:
        values = random.standard_normal(shape) * 0.05 if len(shape) > 1 else np.ones(shape)
        writer.add_tensor(f"{name}.weight", values.astype(np.float32))

    add("token_embd", len(TOKENS), WIDTH)
    add("output_norm", WIDTH)
    add("output", len(TOKENS), WIDTH)
    for layer in range(LAYERS):
        for norm in ("attn_norm", "ffn_norm"):
            add(f"blk.{layer}.{norm}", WIDTH)
        for square in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{layer}.{square}", WIDTH, WIDTH)
        for wide in ("ffn_gate", "ffn_up"):
            add(f"blk.{layer}.{wide}", INNER, WIDTH)
        add(f"blk.{layer}.ffn_down", WIDTH, INNER)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
