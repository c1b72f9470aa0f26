import json
from pathlib import Path
from typing import Any

import pytest
from modelservice.domain.modelfacts import Cache, Source, read_facts

from tests.unit.domain import models

DOCUMENT = Path(__file__).parents[2] / "manifests/facts/llama-3.1-8b.json"


def test_the_document_of_the_worker_is_read_as_what_the_configuration_gives() -> None:
    facts = read_facts(json.loads(DOCUMENT.read_text()))
    assert (facts.source, facts.architecture) == (Source.CONFIG, "LlamaForCausalLM")
    assert (facts.weights, facts.parameters) == (models.LLAMA_8B.weights, models.LLAMA_8B.parameters)
    assert facts.cache == models.LLAMA_8B.cache == Cache(32, 8, 128, 128)
    assert (facts.layers, facts.heads, facts.hidden, facts.intermediate) == (32, 32, 4096, 14_336)
    assert (facts.vocabulary, facts.context_limit, facts.main_datatype) == (128_256, 131_072, "BF16")


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ([], "no document of version 1 that modelservice-worker inspect -o json has written"),
        ({"version": 2}, "no document of version 1"),
        ({"version": 1, "bytes": -1}, "bytes is '-1', which cannot be"),
        ({"version": 1, "bytes": True}, "bytes is 'True', which cannot be"),
        ({"version": 1, "layers": "32"}, "layers is '32', which cannot be"),
        ({"version": 1, "cache": {"heads": 1.5}}, "heads is '1.5', which cannot be"),
        ({"version": 1, "cache": []}, "cache is no object"),
        ({"version": 1, "datatypes": {"BF16": None}}, "BF16 is 'None', which cannot be"),
    ],
)
def test_a_document_that_is_none_is_refused(document: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_facts(document)
