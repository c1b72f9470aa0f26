"""Memory of training runs: the sums that are published, and what they must not contradict."""

from __future__ import annotations

from dataclasses import replace

import pytest
from modelservice.domain.memory import GIB
from modelservice.domain.modelfacts import ModelFacts, Source, declared
from modelservice.domain.trainingmemory import Method, Run, train, trained_parameters

from tests.unit.domain import models

SEVEN = ModelFacts(Source.CONFIG, 15 * 10**9, 7_500_000_000)


@pytest.mark.parametrize(
    ("stage", "gigabytes"),
    [(0, 120.0), (1, 31.4), (2, 16.6), (3, 1.9)],
    ids=["all on each", "states shared", "gradients too", "weights too"],
)
def test_states_of_a_model_of_7_5_billion_on_64_devices_are_those_of_the_zero_paper(
    stage: int, gigabytes: float
) -> None:
    told = train(SEVEN, Run(devices=64, stage=stage, batch=1, tokens=1))
    process = GIB
    assert (told.likely - process) / 1e9 == pytest.approx(gigabytes, abs=0.06)


def test_adapters_of_a_model_of_8_billion_are_as_many_as_their_library_counts() -> None:
    run = Run(Method.LORA, rank=16)
    assert trained_parameters(models.LLAMA_8B, run) == 41_943_040, "all linear layers, rank 16"
    assert trained_parameters(declared("8B"), run) == pytest.approx(41_943_040, rel=0.1)


def test_each_way_to_train_takes_less_than_the_one_before() -> None:
    full, lora, qlora = (train(models.LLAMA_8B, Run(method)) for method in Method)
    assert full.likely > 8e9 * 16
    assert 16e9 < lora.likely < 24 * GIB
    assert 5 * GIB < qlora.likely < 12 * GIB
    assert full.least <= full.likely <= full.most


def test_layers_that_are_computed_again_keep_less_and_longer_sequences_more() -> None:
    kept = train(models.LLAMA_8B, Run(recompute=False))
    again = train(models.LLAMA_8B, Run())
    assert kept.likely - again.likely == 31 * 34 * 2048 * 4096 - 32 * 2 * 2048 * 4096
    twice = train(models.LLAMA_8B, Run(tokens=4096))
    assert twice.likely > again.likely
    assert train(models.LLAMA_8B, Run(batch=2)) == twice


def test_what_is_not_known_is_said() -> None:
    with pytest.raises(ValueError, match="the number of parameters is not known"):
        train(replace(SEVEN, parameters=0), Run())
    assert train(declared("7B"), Run()).source is Source.HEURISTIC
    assert train(models.LLAMA_8B, Run()).source is Source.CONFIG
    with pytest.raises(ValueError, match="stages of ZeRO are 0 to 3"):
        Run(stage=4)
