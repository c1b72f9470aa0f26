from fractions import Fraction

import pytest
from modelservice.domain.enginewords import read_words
from modelservice.domain.estimator import Terms


@pytest.mark.parametrize(
    ("words", "terms"),
    [
        (["serve", "--port", "8080"], Terms()),
        (["--max-model-len", "8192"], Terms(context=8192)),
        (["--max-model-len=16k"], Terms(context=16_000)),
        (["--max_model_len=1K"], Terms(context=1024)),
        (["--tensor-parallel-size", "$(DEVICES)"], Terms(tensor=4)),
        (["--tensor-parallel-size=$(OTHER)"], Terms()),
        (["-tp", "2", "-pp", "3"], Terms(tensor=2, pipeline=3)),
        (["--gpu-memory-utilization", "0.95"], Terms(utilization=Fraction(95, 100))),
        (["--kv-cache-dtype=fp8", "--quantization", "fp8"], Terms(cache_bits=8, weight_bits=8)),
        (["--kv-cache-dtype=auto", "-q", "awq"], Terms()),
        (["vllm serve m --max-num-seqs 16 --max-num-batched-tokens 4096"], Terms(sequences=16, batched_tokens=4096)),
    ],
)
def test_options_of_an_engine_are_read_from_its_command_line(words: list[str], terms: Terms) -> None:
    assert read_words(words, 4) == terms


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--max-model-len", "long"], "--max-model-len is 'long', which must be a whole number above 0"),
        (["--max-num-seqs=0"], "--max-num-seqs is '0', which must be a whole number above 0"),
        (["--gpu-memory-utilization=1.5"], "--gpu-memory-utilization is '1.5', which must be a number above 0"),
        (["--gpu-memory-utilization=1/0"], "--gpu-memory-utilization is '1/0'"),
    ],
)
def test_values_that_cannot_be_are_told(words: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_words(words, 1)
