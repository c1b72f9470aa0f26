"""Facts of public models, counted from their published configurations (config.json of each), for tests."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from modelservice.domain.modelfacts import Cache, ModelFacts, Source


def dense(
    layers: int,
    hidden: int,
    intermediate: int,
    vocabulary: int,
    heads: tuple[int, int, int],
    *,
    bits: int = 16,
    tied: bool = False,
    **more: Any,
) -> ModelFacts:
    """A decoder with gated feed-forward layers; `heads` are those of attention, of keys, and the size of one.

    Linear layers have so many bits, with a scale of 16 for each row below 16; all else has 16.
    """
    attention, keys, size = heads
    shapes = [
        (attention * size, hidden), (keys * size, hidden), (keys * size, hidden), (hidden, attention * size),
        (intermediate, hidden), (intermediate, hidden), (hidden, intermediate),
    ]  # fmt: skip
    linear = layers * sum(rows * columns for rows, columns in shapes)
    scales = layers * sum(rows for rows, _ in shapes) if bits < 16 else 0
    rest = vocabulary * hidden * (1 if tied else 2) + (2 * layers + 1) * hidden
    narrow, wide = linear * bits // 8, 2 * (rest + scales)
    kinds = {"BF16": wide + narrow} if bits == 16 else {"FP8_E4M3" if bits == 8 else "INT32": narrow, "BF16": wide}
    given: dict[str, Any] = {
        "layers": layers,
        "heads": attention,
        "hidden": hidden,
        "intermediate": intermediate,
        "vocabulary": vocabulary,
        "cache": Cache(layers, keys, size, size),
    }
    return ModelFacts(Source.CONFIG, wide + narrow, linear + rest, kinds, **{**given, **more})


def gpt_oss(layers: int, experts: int) -> ModelFacts:
    """Experts in MXFP4: 4 bits and a scale of 8 for 32 of them; half of the layers look back 128 tokens."""
    hidden, size = 2880, 64
    attention = layers * (2 * hidden * 64 * size + 2 * hidden * 8 * size)
    embeddings = 2 * 201_088 * hidden
    packed = int(layers * experts * 3 * hidden * hidden * Fraction(17, 32))
    wide = 2 * (attention + embeddings + layers * experts * 3 * hidden)
    return ModelFacts(
        Source.CONFIG,
        wide + packed,
        attention + embeddings + layers * experts * 3 * hidden * hidden,
        {"BF16": wide, "UINT8": packed},
        layers=layers,
        heads=64,
        hidden=hidden,
        intermediate=hidden,
        vocabulary=201_088,
        experts=experts,
        quantization="mxfp4",
        cache=Cache(layers, 8, size, size, sliding=layers // 2, window=128),
    )


def with_eyes(text: ModelFacts, parameters: int) -> ModelFacts:
    """The same model with a part of so many parameters that sees images."""
    weights = text.weights + 2 * parameters
    return replace(text, weights=weights, datatypes={"BF16": weights}, vision=True)


LLAMA_8B = dense(32, 4096, 14_336, 128_256, (32, 8, 128), context_limit=131_072)
LLAMA_8B_FP8 = dense(32, 4096, 14_336, 128_256, (32, 8, 128), bits=8, context_limit=131_072)
LLAMA_70B_FP8 = dense(80, 8192, 28_672, 128_256, (64, 8, 128), bits=8, context_limit=131_072)
LLAMA_405B_FP8 = dense(126, 16_384, 53_248, 128_256, (128, 8, 128), bits=8, context_limit=131_072)
QWEN3_600M = dense(28, 1024, 3072, 151_936, (16, 8, 128), tied=True, context_limit=40_960)
QWEN3_32B = dense(64, 5120, 25_600, 151_936, (64, 8, 128), context_limit=40_960)
QWEN25_7B = dense(28, 3584, 18_944, 152_064, (28, 4, 128), context_limit=32_768)
QWEN2_72B_GPTQ = dense(80, 8192, 29_568, 152_064, (64, 8, 128), bits=4, quantization="gptq", context_limit=32_768)
GEMMA_2_9B_FP8 = dense(42, 3584, 14_336, 256_000, (16, 8, 256), bits=8, tied=True, context_limit=8192)
OPT_125M = dense(12, 768, 2048, 50_272, (12, 12, 64), context_limit=2048)
MISTRAL_24B = with_eyes(dense(40, 5120, 32_768, 131_072, (32, 8, 128), context_limit=131_072), 439_000_000)
"""With the vision part of Pixtral: 24 layers of 1024, and the projection to 5120."""
GPT_OSS_20B = gpt_oss(24, 32)
GPT_OSS_120B = gpt_oss(36, 128)
