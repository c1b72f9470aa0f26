"""Number formats that hardware can compute in, by the features that a pool names (as CPUs' kernels write them)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from modelservice.domain.modelfacts import ModelFacts

CPU_FORMATS: Mapping[str, tuple[str, ...]] = {"BF16": ("avx512_bf16", "amx_bf16", "bf16")}
"""One of these is needed; other plain formats are computed on every CPU."""
GPU_FORMATS: Mapping[str, tuple[str, ...]] = {"BF16": ("bf16",)}
"""GPUs without FP8 keep such weights packed and compute in 16 bits."""
GPU_ONLY = ("gptq", "awq", "fp8", "fbgemm_fp8", "bitsandbytes", "mxfp4", "nvfp4", "compressed-tensors", "modelopt")


def lacking(facts: ModelFacts, accelerator: str, features: Collection[str]) -> str:
    """What the hardware lacks to compute a model, "" when nothing is known to; ends a sentence that names the pool.

    A pool that names no features is not judged by them.
    """
    if accelerator == "CPU" and facts.quantization in GPU_ONLY:
        return f"has CPUs, and weights quantized by {facts.quantization} are computed on GPUs only"
    needed = {"CPU": CPU_FORMATS, "GPU": GPU_FORMATS}.get(accelerator, {}).get(facts.main_datatype, ())
    known = {feature.lower() for feature in features}
    if not needed or not known or known.intersection(needed):
        return ""
    return f"lacks {' or '.join(needed)}, which a model in {facts.main_datatype} is computed with"
