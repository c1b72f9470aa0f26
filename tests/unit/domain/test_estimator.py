"""What a model takes of a device, against what engines have measured and what is known to run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import pytest
from modelservice.domain.estimator import (
    CALIBRATION,
    UNFITTED_VISION,
    Calibration,
    Fit,
    Terms,
    correction,
    serve,
)
from modelservice.domain.memory import GIB, Figure, gib
from modelservice.domain.modelfacts import Cache, ModelFacts, Source, declared
from modelservice.domain.parallel import Devices, spread, tensor_sizes

from tests.unit.domain import models

H100 = int(79.18 * GIB)
L4 = int(22.05 * GIB)


@dataclass(frozen=True, slots=True)
class Row:
    """One start of vLLM on H100s, GiB per device; max-model-len 16000.

    Source: llm-d-incubation/llm-d-planner, docs/empirical-vllm-memory-results.md. The row of gpt-oss-120b is labelled
    0.90 there, and its sum balances at 0.95 only.
    """

    name: str
    facts: ModelFacts
    weights: float
    activation: float
    outside: float
    cache: float
    tensor: int = 1
    utilization: str = "0.90"

    @property
    def terms(self) -> Terms:
        return Terms(context=16_000, utilization=Fraction(self.utilization), tensor=self.tensor)


ROWS = (
    Row("gpt-oss-20b", models.GPT_OSS_20B, 13.47, 7.38, 0.13, 50.28),
    Row("gpt-oss-120b", models.GPT_OSS_120B, 64.38, 7.38, 0.13, 3.33, utilization="0.95"),
    Row("Llama-3.3-70B-FP8 on two", models.LLAMA_70B_FP8, 33.88, 4.84, 0.55, 32.00, tensor=2),
    Row("Llama-3.1-8B", models.LLAMA_8B, 14.99, 4.76, 0.13, 51.38),
    Row("Qwen3-0.6B", models.QWEN3_600M, 1.12, 5.56, 0.13, 64.45),
    Row("Qwen3-32B", models.QWEN3_32B, 61.03, 5.64, 0.14, 4.45),
    Row("Qwen3-32B on two", models.QWEN3_32B, 30.59, 5.64, 0.54, 34.49, tensor=2),
    Row("Mistral-Small-3.2-24B", models.MISTRAL_24B, 44.76, 2.12, 0.14, 28.20, utilization="0.95"),
)


def calibrate(rows: tuple[Row, ...]) -> Calibration:
    """The constants that these rows give: means, and where no row sees images what an unfitted formula has."""
    text = [row for row in rows if not row.facts.vision]
    seeing = [row for row in rows if row.facts.vision]

    def bare(row: Row) -> float:
        facts = row.facts
        return 2 * 8192 * (3 * facts.intermediate / row.tensor + 5 * facts.hidden)

    def of_sampler(row: Row) -> float:
        return (row.activation * GIB - 2 * 8192 * row.facts.hidden) / (4 * row.facts.vocabulary * 1024)

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    vision = mean([row.activation * GIB / bare(row) for row in seeing]) if seeing else float(UNFITTED_VISION)
    single = mean([row.outside for row in rows if row.tensor == 1])
    parallel = mean([row.outside for row in rows if row.tensor > 1])
    sampler = mean([of_sampler(row) for row in text])
    return Calibration(Fraction(sampler), Fraction(vision), int(single * GIB), int(parallel * GIB))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_cache_of_a_start_is_foretold_by_the_other_starts(row: Row) -> None:
    others = calibrate(tuple(one for one in ROWS if one is not row))
    error = serve(row.facts, row.terms, H100, calibration=others).left.likely / GIB - row.cache
    assert -1 < error < 0.2, "within 1 GiB, and hardly promised too much"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_part_is_near_what_was_measured_and_the_bounds_hold_it(row: Row) -> None:
    told = serve(row.facts, row.terms, H100)
    assert told.weights.likely / GIB == pytest.approx(row.weights, abs=0.15)
    assert told.activation.likely / GIB == pytest.approx(row.activation, abs=0.05)
    assert told.overhead.likely / GIB == pytest.approx(row.outside, abs=0.01)
    assert told.left.least / GIB <= row.cache <= told.left.most / GIB
    assert told.fit is not Fit.NOT, "it did run"


def test_the_constants_are_those_of_all_rows() -> None:
    fitted = calibrate(ROWS)
    assert float(CALIBRATION.sampler) == pytest.approx(float(fitted.sampler), abs=0.01)
    assert float(CALIBRATION.vision) == pytest.approx(float(fitted.vision), abs=0.01)
    assert (CALIBRATION.single / GIB, CALIBRATION.parallel / GIB) == pytest.approx((0.134, 0.545), abs=0.002)


@pytest.mark.parametrize(
    ("facts", "context"),
    [(models.LLAMA_70B_FP8, 16_000), (models.QWEN3_32B, 32_000)],
    ids=["70B FP8 has no room left", "32B has no room for a context of 32,000"],
)
def test_what_was_seen_to_fail_on_one_h100_is_refused(facts: ModelFacts, context: int) -> None:
    assert serve(facts, Terms(context=context), H100).fit is Fit.NOT


def known(context: int = 0, utilization: str = "0.90", batched: int = 0, **more: int) -> Terms:
    return Terms(context=context, utilization=Fraction(utilization), batched_tokens=batched, **more)


KNOWN_GOOD = {
    "Llama-3.1-8B-FP8 on L4": (models.LLAMA_8B_FP8, known(16_384, batched=16_384), L4),
    "gemma-2-9b-FP8 on L4": (models.GEMMA_2_9B_FP8, known(4096, "0.95", 4096, cache_bits=8), L4),
    "Qwen2.5-7B on L4": (models.QWEN25_7B, known(8192, "0.95", 8192, cache_bits=8), L4),
    "Tulu-3-8B on L4": (models.LLAMA_8B, known(8192, "0.95", 8192, cache_bits=8), L4),
    "R1-Distill-8B on L4": (models.LLAMA_8B, known(8192, "0.95", 8192, cache_bits=8, weight_bits=8), L4),
    "SuperNova-Lite on L4": (
        models.LLAMA_8B,
        known(2048, "0.95", 2048, cache_bits=8, weight_bits=8, sequences=1),
        L4,
    ),
    "opt-125m on L4": (models.OPT_125M, known(), L4),
    "70B-FP8 on 8 L4": (models.LLAMA_70B_FP8, known(32_768, batched=32_768, cache_bits=8, tensor=2, pipeline=4), L4),
    "70B-FP8 on 2 H100": (models.LLAMA_70B_FP8, known(65_536, tensor=2), H100),
    "70B-FP8 on H100": (models.LLAMA_70B_FP8, known(16_384, "0.95", 16_384, cache_bits=8), H100),
    "405B-FP8 on 8 H100": (models.LLAMA_405B_FP8, known(65_536, cache_bits=8, tensor=8), H100),
}
"""Configurations that a public catalogue offers as working (kubeai, charts/models), without offloading."""


@pytest.mark.parametrize("name", KNOWN_GOOD)
def test_what_is_known_to_run_is_not_refused(name: str) -> None:
    facts, terms, memory = KNOWN_GOOD[name]
    told = serve(facts, terms, memory)
    assert told.fit is not Fit.NOT
    assert told.need.least <= told.share, "and the least that it can need fits for sure"


def test_c26_a_model_of_72_billion_weights_in_4_bits_runs_on_two_cards_of_48_gib() -> None:
    facts = replace(models.QWEN2_72B_GPTQ, weights=42_000_000_000)
    assert serve(facts, Terms(), 48 * GIB).weights.likely == 42_000_000_000, "39 GiB, and not 162.9"
    found = spread(facts, Terms(), int(47.5 * GIB), 8)
    assert isinstance(found, Devices)
    assert (found.count, found.serving.fit, found.serving.weights.source) == (2, Fit.ROOMY, Source.CONFIG)


def test_c26_an_fp8_model_of_70_billion_runs_on_one_large_card_with_a_short_context() -> None:
    short = serve(models.LLAMA_70B_FP8, Terms(context=2048, utilization=Fraction(95, 100)), H100)
    assert 66 < short.weights.likely / GIB < 70
    assert short.fit is not Fit.NOT
    assert serve(models.LLAMA_70B_FP8, Terms(context=32_768), 141 * GIB).fit is Fit.ROOMY


@pytest.mark.parametrize(
    ("heads", "key_heads", "devices", "sizes"),
    [
        (40, 8, 6, (1, 2, 4)),
        (28, 4, 8, (1, 2, 4)),
        (52, 52, 3, (1, 2)),
        (12, 2, 8, (1, 2, 4, 6)),
        (64, 8, 8, (1, 2, 4, 8)),
        (71, 1, 8, (1,)),
    ],
)
def test_c28_sizes_divide_the_heads_and_the_smallest_that_fits_is_taken(
    heads: int, key_heads: int, devices: int, sizes: tuple[int, ...]
) -> None:
    assert tensor_sizes(heads, key_heads, devices) == sizes
    facts = replace(models.LLAMA_8B, heads=heads, cache=Cache(32, key_heads, 128, 128))
    found = spread(facts, Terms(context=2048), 14 * GIB, devices)
    if len(sizes) > 1:
        assert isinstance(found, Devices)
        assert found.count == 2, "and the other devices of the node are left for further replicas"
    else:
        assert found == "2 devices needed, possible 1."


def test_c28_more_devices_than_the_heads_can_be_shared_out_to_are_refused_in_a_sentence() -> None:
    facts = replace(models.LLAMA_8B, heads=28, cache=Cache(32, 4, 128, 128))
    assert spread(facts, Terms(context=2048), int(5.6 * GIB), 8) == "5 devices needed, possible 1, 2, 4."


def test_s18_a_latent_cache_is_on_every_device_and_heads_are_shared_out() -> None:
    latent, heads = Cache(61, latent=576), Cache(61, heads=8, key_size=128, value_size=128)
    assert latent.elements(10, 1) == latent.elements(10, 8) == 61 * 576 * 10
    assert heads.elements(10, 8) * 8 == heads.elements(10, 1)
    assert heads.elements(10, 16) == heads.elements(10, 8), "fewer heads than devices are repeated"


def test_layers_with_a_window_keep_no_more_than_it() -> None:
    cache = Cache(4, 1, 1, 1, sliding=2, window=128)
    assert cache.elements(100, 1) == 4 * 2 * 100
    assert cache.elements(1000, 1) == 2 * 2 * 1000 + 2 * 2 * 128


def test_what_an_engine_reports_after_its_start_takes_the_place_of_the_estimate() -> None:
    facts, terms = models.LLAMA_8B, Terms(context=16_000)
    own = correction(facts, terms, H100, int(50.0 * GIB))
    told = serve(facts, terms, H100, own)
    assert told.left.likely / GIB == pytest.approx(50.0, abs=0.001)
    assert own.source is Source.MEASURED
    assert own.likely / GIB == pytest.approx(71.262 - 50.0 - 14.958, abs=0.01)
    elsewhere = serve(facts, terms, 141 * GIB, own)
    assert elsewhere.left.likely / GIB == pytest.approx(141 * 0.9 - 14.958 - own.likely / GIB, abs=0.01)


def test_a_declared_number_of_parameters_is_a_rule_of_thumb_and_says_so() -> None:
    facts = declared("7.5B")
    assert (facts.weights, facts.parameters, facts.source) == (15_000_000_000, 7_500_000_000, Source.HEURISTIC)
    assert facts.notes == ("Only the number of parameters is declared, 7.5B: 16 bits are assumed for each.",)
    told = serve(facts, Terms(), H100)
    assert (told.context, told.need.source, told.fit) == (8192, Source.HEURISTIC, Fit.ROOMY)
    assert serve(declared("70B"), Terms(), H100).fit is Fit.NOT


@pytest.mark.parametrize("text", ["7", "B", "0B", "7b", "-7B", "7.B", "1e3B", "7 B"])
def test_what_is_no_number_of_parameters_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number of parameters: write one such as 7B or 560M"):
        declared(text)


def test_a_model_that_generates_nothing_needs_no_cache() -> None:
    told = serve(replace(models.OPT_125M, cache=None), Terms(), L4)
    assert (told.sequence, told.sequences) == (Figure(0, 0, 0, Source.MEASURED), 0)


def test_bytes_are_written_for_people() -> None:
    assert [gib(one) for one in (L4, GIB, GIB // 3, GIB // 256)] == ["22.05 GiB", "1 GiB", "0.33 GiB", "4 MiB"]
