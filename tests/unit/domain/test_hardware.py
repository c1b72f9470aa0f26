"""Slices of TPUs (case C29), and number formats that hardware computes in (case C40, which pool is chosen)."""

import re

import pytest
from modelservice.domain.features import lacking
from modelservice.domain.modelfacts import ModelFacts, Source
from modelservice.domain.topology import slice_of


@pytest.mark.parametrize(
    ("topology", "node_chips", "hosts"),
    [("2x2x2", 4, 2), ("2x4", 8, 1), ("2x4", 4, 2), ("4x4", 4, 4), ("1x1", 1, 1)],
    ids=["v4", "v5e and v6e on 8", "v6e on 4", "v5e on 4", "v5e on 1"],
)
def test_c29_a_slice_takes_as_many_nodes_as_its_chips_fill(topology: str, node_chips: int, hosts: int) -> None:
    found = slice_of(topology, node_chips, node_chips)
    assert (found.hosts, found.chips) == (hosts, hosts * node_chips)


@pytest.mark.parametrize(
    ("topology", "node_chips", "requested", "sentence"),
    [
        ("2x4", 3, None, "topology 2x4 has 8 chips, which nodes of 3 chips cannot share evenly"),
        ("2x", 4, None, "'2x' is no topology of TPUs (its nodes have 4 chips): write one such as 2x4 or 2x2x2"),
        ("2x4x", 4, None, "'2x4x' is no topology"),
        ("0x4", 4, None, "'0x4' is no topology"),
        ("2*4", 4, None, "'2*4' is no topology"),
        ("2x4", 16, None, "topology 2x4 has 8 chips, which nodes of 16 chips cannot share evenly"),
        ("4x4", 4, 8, "topology 4x4 gives each pod the 4 chips of its node, and the pod asks for 8"),
    ],
)
def test_c29_what_cannot_be_a_slice_is_refused_with_its_numbers(
    topology: str, node_chips: int, requested: int | None, sentence: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        slice_of(topology, node_chips, requested)


OLD, NEW = ("avx2",), ("avx512_bf16", "amx_bf16")


def model(datatype: str, quantization: str = "") -> ModelFacts:
    return ModelFacts(Source.CONFIG, 100, datatypes={datatype: 100}, quantization=quantization)


@pytest.mark.parametrize(
    ("facts", "features", "why"),
    [
        (model("FP32"), OLD, ""),
        (model("INT8"), OLD, ""),
        (model("BF16"), NEW, ""),
        (model("BF16"), (), ""),
        (
            model("BF16"),
            OLD,
            "lacks avx512_bf16 or amx_bf16 or bf16, which a model in BF16 is computed with",
        ),
        (model("INT32", "gptq"), NEW, "has CPUs, and weights quantized by gptq are computed on GPUs only"),
    ],
    ids=["fp32", "int8", "bf16 on new", "nothing declared", "bf16 on old", "gptq"],
)
def test_c40_cpus_that_cannot_compute_a_format_are_left_out_with_the_missing_feature(
    facts: ModelFacts, features: tuple[str, ...], why: str
) -> None:
    assert lacking(facts, "CPU", features) == why


def test_c40_features_of_gpus_are_looked_at_where_they_are_declared() -> None:
    assert lacking(model("BF16"), "GPU", ("FP16",)) == "lacks bf16, which a model in BF16 is computed with"
    assert lacking(model("BF16"), "GPU", ("BF16", "FP8")) == ""
    assert lacking(model("INT32", "gptq"), "GPU", ("BF16",)) == ""
