"""How much memory of a device a model takes that an engine with continuous batching serves (vLLM and its like).

Such an engine takes a share of the device (`utilization`), loads the weights, runs the largest batch once to see what
activations take, and gives the rest to the cache of keys and values. Sources of the formulas:

* weights: the tensors that are loaded, shared out over tensor and pipeline parallel devices. MXFP4 experts are padded
  to 256 columns (gpt-oss: 12.8 GiB of files are 13.5 GiB in memory).
* activations: the largest batch runs through one layer at a time, 2 B for each of hidden + 3 x (intermediate and
  hidden); then the logits of all sequences are sampled in 32 bits, with copies for sorting, which vocabulary x
  sequences x 4 B x `sampler` describes within 1 % on all measured text models. The two are not there at once. Neither
  depends on the length of the context, nor, for the sampler, on tensor parallelism (llm-d-planner,
  docs/empirical-vllm-memory-results.md: 5.64 GiB for Qwen3-32B on one device and on each of two).
* models that see images were measured at what their layers take, without the sampler.
* cache: 2 x layers x key heads x head size x bytes for each token; MLA keeps one latent vector on every device
  (Kaito, doc/memory-estimator.md; 163,840 B for Mistral-Small-24B in vLLM's own log).
* the largest batch: vLLM takes 8192 tokens and 1024 sequences on devices of 70 GiB and more, else 2048 and 256.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from math import ceil

from modelservice.domain.memory import GIB, NOTHING, Figure
from modelservice.domain.modelfacts import HALF, ModelFacts, Source

TOLERANCE = GIB // 5
"""An estimate is off by no more than this on the measured rows: a lack below it refuses nothing."""
LARGE_DEVICE = 70 * GIB
SMALL_SEQUENCES = 256
ASSUMED_CONTEXT = 8192
"""Tokens of a sequence when neither the engine nor the model says how many."""
SHORT_CONTEXT = 4096
"""Tokens for which engines without continuous batching keep a cache unless they are told otherwise."""
PADDING = 256
UNFITTED_VISION = Fraction(5, 4)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Constants that follow from measured engines; sizes in bytes per device.

    `sampler` and `vision` are multiples of the bare arrays, `single` and `parallel` what is taken outside of the
    engine's own memory on one device and on each of several.
    """

    sampler: Fraction
    vision: Fraction
    single: int
    parallel: int


CALIBRATION = Calibration(Fraction(959, 100), Fraction(112, 100), GIB * 134 // 1000, GIB * 545 // 1000)
GRAPHS = GIB * 103 // 100
"""The most that the graphs of an engine took, outside of its share."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How an engine is told to serve: 0 for what it decides itself, bits of 0 for those of the model.

    `tensor` x `pipeline` devices carry one replica; `utilization` is the share of each that the engine takes.
    """

    context: int = 0
    utilization: Fraction = Fraction(9, 10)
    cache_bits: int = 16
    batched_tokens: int = 0
    sequences: int = 0
    tensor: int = 1
    pipeline: int = 1
    weight_bits: int = 0

    @property
    def devices(self) -> int:
        """Devices of one replica."""
        return self.tensor * self.pipeline


class Fit(StrEnum):
    """Whether a model fits: even at most, likely, or not."""

    ROOMY = "Roomy"
    TIGHT = "Tight"
    NOT = "Not"


@dataclass(frozen=True, slots=True)
class Serving:
    """Memory of each device in bytes.

    `share` is what the engine may take, `sequence` the cache of one sequence of `context` tokens, `left` what remains
    for the cache (least when most else is taken), `sequences` how many such sequences that likely holds.
    """

    weights: Figure
    activation: Figure
    overhead: Figure
    sequence: Figure
    share: int
    context: int
    tokens: int
    sequences: int

    @property
    def taken(self) -> Figure:
        """What is taken before the cache."""
        return self.weights + self.activation + self.overhead

    @property
    def need(self) -> Figure:
        """What is needed to serve at all: all that, and the cache of one sequence."""
        return self.taken + self.sequence

    @property
    def left(self) -> Figure:
        """What remains for the cache; below zero when the rest does not fit."""
        taken, share = self.taken, self.share
        return Figure(share - taken.most, share - taken.likely, share - taken.least, taken.source)

    @property
    def fit(self) -> Fit:
        """Whether it fits; what likely does is not refused, and neither is a lack within the error of the estimate."""
        if self.need.most <= self.share:
            return Fit.ROOMY
        return Fit.TIGHT if self.need.likely <= self.share + TOLERANCE else Fit.NOT


def serve(
    facts: ModelFacts,
    terms: Terms,
    memory: int,
    measured: Figure | None = None,
    calibration: Calibration = CALIBRATION,
) -> Serving:
    """What serving takes of a device with so many bytes of usable memory.

    `measured` replaces activations and overhead (see ``correction``).
    """
    context = terms.context or facts.context_limit or ASSUMED_CONTEXT
    share = int(memory * terms.utilization)
    weights = _weights(facts, terms)
    activation = _activation(facts, terms, memory, calibration) if measured is None else measured
    overhead = _overhead(terms, calibration) if measured is None else NOTHING
    sequence = _sequence(facts, terms, context)
    left = max(0, share - weights.likely - activation.likely - overhead.likely)
    sequences = left // sequence.likely if sequence.likely else 0
    tokens = left * context // sequence.likely if sequence.likely else 0
    return Serving(weights, activation, overhead, sequence, share, context, tokens, sequences)


def hold(facts: ModelFacts, terms: Terms) -> Figure:
    """What a process takes that loads a model and no more, on a CPU or on each device: weights and working memory.

    A fifth more than the weights (Accelerate's documentation), and half a GiB for the process; at most as much again
    while the weights are brought into another number format. Caches of models that generate count for one sequence.
    """
    weights = _weights(facts, terms).likely
    spare = Figure(0, weights // 5 + GIB // 2, weights + 2 * GIB, Source.HEURISTIC)
    context = terms.context or min(facts.context_limit or SHORT_CONTEXT, SHORT_CONTEXT)
    return Figure.exactly(weights, facts.source) + spare + _sequence(facts, terms, context)


def correction(facts: ModelFacts, terms: Terms, memory: int, cache: int) -> Figure:
    """What else than weights and cache an engine took, from the bytes of cache per device that it reported itself.

    Good for the same engine and batch on devices of any size.
    """
    taken = int(memory * terms.utilization) - _weights(facts, terms).likely - cache
    return Figure.exactly(max(0, taken), Source.MEASURED)


def _weights(facts: ModelFacts, terms: Terms) -> Figure:
    ends = Fraction(2 * HALF * facts.vocabulary * facts.hidden)
    total = Fraction(facts.weights)
    if facts.quantization == "mxfp4" and facts.hidden:
        packed = facts.datatypes.get("UINT8", 0)
        total += Fraction(packed * (-facts.hidden % PADDING), facts.hidden)
    ends = min(total, ends)
    if terms.weight_bits and facts.main_datatype in ("BF16", "FP16", "FP32", ""):
        wide = 32 if facts.main_datatype == "FP32" else 16
        total = ends + (total - ends) * Fraction(terms.weight_bits, wide)
    stage = total / terms.devices
    if terms.pipeline > 1:
        # The first and the last stage hold the embeddings and the head beside their layers.
        stage = ((total - ends) / terms.pipeline + ends / 2) / terms.tensor
    return Figure(int(stage), ceil(stage), ceil(stage * Fraction(101, 100)), facts.source)


def _batch(terms: Terms, memory: int) -> tuple[int, int]:
    """Tokens and sequences of the largest batch."""
    tokens, sequences = (8192, 1024) if memory >= LARGE_DEVICE else (2048, SMALL_SEQUENCES)
    tokens = terms.batched_tokens or tokens
    return tokens, min(terms.sequences or sequences, tokens)


def _activation(facts: ModelFacts, terms: Terms, memory: int, calibration: Calibration) -> Figure:
    if not facts.hidden or not facts.vocabulary:
        likely = GIB * 28 // 5 if memory >= LARGE_DEVICE else GIB * 3 // 2
        return Figure(likely // 4, likely, likely * 2, Source.HEURISTIC)
    tokens, sequences = _batch(terms, memory)
    stream = HALF * tokens * facts.hidden
    wide = Fraction(3 * facts.intermediate, terms.tensor)
    if facts.vision:
        peak = ceil(HALF * tokens * (wide + 5 * facts.hidden) * calibration.vision)
        return Figure(peak * 3 // 4, peak, peak * 2, Source.HEURISTIC)
    layer = ceil(HALF * tokens * (wide + 3 * facts.hidden))
    sampler = ceil(4 * facts.vocabulary * sequences * calibration.sampler)
    # Engines of before 2025 sampled 256 sequences on every device.
    fewest = sampler if terms.sequences else ceil(sampler * Fraction(min(SMALL_SEQUENCES, sequences), sequences))
    return Figure(max(layer, fewest) + stream, max(layer, sampler) + stream, layer + sampler + stream, Source.CONFIG)


def _overhead(terms: Terms, calibration: Calibration) -> Figure:
    base = calibration.single if terms.devices == 1 else calibration.parallel
    return Figure(base, base, base + GRAPHS, Source.CONFIG)


def _sequence(facts: ModelFacts, terms: Terms, context: int) -> Figure:
    """Cache of one sequence of so many tokens."""
    if facts.cache is not None:
        elements = facts.cache.elements(context, terms.tensor) / terms.pipeline
        whole = replace(facts.cache, sliding=0).elements(context, terms.tensor) / terms.pipeline
        likely, most = (ceil(one * terms.cache_bits / 8) for one in (elements, whole))
        return Figure(likely, likely, most, facts.source)
    if not facts.generates:
        return NOTHING
    # From 0.6 to 405 billion parameters a token takes between 0.1 and 0.5 MB in models with grouped heads.
    token = max(114_688, round(131_072 * (facts.parameters / 8e9) ** 0.4)) * terms.cache_bits // 16
    likely = token * context // terms.devices
    return Figure(likely // 2, likely, likely * 4, Source.HEURISTIC)
