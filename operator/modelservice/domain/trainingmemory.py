"""How much memory of a device a training run takes.

Sources: 16 B for each trained parameter with Adam in mixed precision (2 weights, 2 gradients, 12 of states in 32 bits)
and what ZeRO shares out of them (Rajbhandari et al., ZeRO, 2020, section 3); activations of a transformer (Korthikanti
et al., Reducing Activation Recomputation in Large Transformer Models, 2022): 34 B x sequence x batch x hidden in a
layer with an attention that keeps no scores, 2 B where the layer is computed again; 4 bits and an eighth for the scales
of NF4, of which the embeddings stay in 16 bits (Dettmers et al., QLoRA, 2023, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from math import ceil

from modelservice.domain.memory import GIB, Figure, gib
from modelservice.domain.modelfacts import HALF, ModelFacts, Source

STATES = 12
GRADIENT = 2
NF4 = Fraction(4, 8) + Fraction(1, 64)
PROCESS = GIB
"""What a process with its libraries and communication buffers takes of a device, at most twice that."""


class Method(StrEnum):
    """What is trained: all weights, or adapters beside weights in 16 or in 4 bits."""

    FULL = "Full"
    LORA = "LoRA"
    QLORA = "QLoRA"


@dataclass(frozen=True, slots=True)
class Run:
    """A run: `batch` sequences of `tokens` on each of `devices`; `stage` of ZeRO from 0 to 3; `rank` of adapters."""

    method: Method = Method.FULL
    devices: int = 1
    stage: int = 0
    batch: int = 1
    tokens: int = 2048
    rank: int = 16
    recompute: bool = True

    def __post_init__(self) -> None:
        if min(self.devices, self.batch, self.tokens, self.rank) < 1 or not 0 <= self.stage <= 3:  # noqa: PLR2004
            raise ValueError("devices, batch, tokens and rank of a run begin at 1, and stages of ZeRO are 0 to 3")


def train(facts: ModelFacts, run: Run) -> Figure:
    """Bytes on each device: weights, gradients, states of the optimizer, activations and the process.

    Raises ValueError for a model whose number of parameters is not known.
    """
    if not facts.parameters:
        raise ValueError("the number of parameters is not known, so that nothing can be said of training")
    states, trained = _states(facts, run)
    activations = _activations(facts, run)
    # Gradients in 32 bits, as some frameworks keep them, are the most.
    shared = run.devices if run.stage >= 2 else 1  # noqa: PLR2004 - ZeRO 2 and 3 share gradients
    most = states + ceil(Fraction(2 * trained, shared))
    source = Source.CONFIG if facts.source is Source.CONFIG and facts.layers else Source.HEURISTIC
    return Figure(states, states, most, source) + activations + Figure(PROCESS // 2, PROCESS, 2 * PROCESS, source)


def trained_parameters(facts: ModelFacts, run: Run) -> int:
    """Parameters that change; adapters on all linear layers: two matrices of the rank beside each."""
    if run.method is Method.FULL:
        return facts.parameters
    if not facts.layers or not facts.hidden:
        return facts.parameters * run.rank // 3200  # 0.5 % at rank 16, as Llama's 8 and 70 billion have
    keys = facts.cache.heads * (facts.cache.key_size or 1) if facts.cache is not None else facts.hidden
    attention = 2 * 2 * facts.hidden + 2 * (facts.hidden + keys)
    feed_forward = 3 * (facts.hidden + (facts.intermediate or 4 * facts.hidden))
    return run.rank * facts.layers * (attention + feed_forward)


def _states(facts: ModelFacts, run: Run) -> tuple[int, int]:
    """Bytes of weights, gradients and states on a device, and how many parameters are trained."""
    trained = trained_parameters(facts, run)
    frozen = Fraction(0)
    if run.method is not Method.FULL:
        wide = min(facts.parameters, 2 * facts.vocabulary * facts.hidden) if run.method is Method.QLORA else 0
        width = NF4 if run.method is Method.QLORA else Fraction(HALF)
        frozen = wide * HALF + (facts.parameters - wide) * width
    by_stage = [1 if run.stage < stage else run.devices for stage in (3, 2, 1)]
    weights, gradients, states = (
        Fraction(size * trained, count) for size, count in zip((HALF, GRADIENT, STATES), by_stage, strict=True)
    )
    return ceil(frozen / by_stage[0] + weights + gradients + states), trained


def _activations(facts: ModelFacts, run: Run) -> Figure:
    tokens = run.batch * run.tokens
    if not facts.layers or not facts.hidden:
        likely = ceil(tokens * (facts.parameters**0.5) / 4)
        return Figure(likely // 4, likely, likely * 4, Source.HEURISTIC)
    layer = 34 * tokens * facts.hidden
    kept = facts.layers * (2 * tokens * facts.hidden) + layer if run.recompute else facts.layers * layer
    # The logits, their gradient and the softmax in 32 bits; fused losses keep a part of them.
    logits = tokens * facts.vocabulary * 10
    return Figure(kept, kept + logits, kept + 2 * logits, Source.CONFIG)


def compare(facts: ModelFacts, devices: int) -> str:
    """What each way to train likely takes on each of so many devices, weights shared out when there are several."""
    stage = 3 if devices > 1 else 0
    needs = {method: train(facts, Run(method, devices, stage)).likely for method in Method}
    return ", ".join(f"{method} {gib(need)}" for method, need in needs.items())
