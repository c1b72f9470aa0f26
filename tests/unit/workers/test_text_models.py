"""Hugging Face directories: embeddings and classes of texts, over OpenAI's API too; what is refused and why."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import torch
from modelservice_workers.common.datatypes import Array
from modelservice_workers.common.errors import ArtifactError, HardwareError
from modelservice_workers.common.signature import Range, Signature, TensorSpec
from modelservice_workers.serving.engine import InputRefusedError
from modelservice_workers.serving.model import LoadedModel, load_model
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, BertForSequenceClassification, BertModel

from tests.unit.workers.engines import DEADLINE_SECONDS, INFO, OPTIONS, LogEngine
from tests.unit.workers.onnxmodels import write_manifest
from tests.unit.workers.servers import RunningServer, start_server, wait_until
from tests.unit.workers.textmodels import change_json, write_classifier, write_encoder

pytestmark = pytest.mark.timeout(120)

TEXTS = ["The quick brown fox", "good", "a b c a b c a b c a b c a b c a b c", "bad film over the lazy dog", "fox"]


def texts(*values: str | bytes) -> Array:
    array = np.empty(len(values), np.object_)
    array[:] = [value if isinstance(value, bytes) else value.encode() for value in values]
    return array


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder") / "model")


@pytest.fixture(scope="module")
def loaded(encoder: Path) -> LoadedModel:
    return load_model(encoder, OPTIONS)


@pytest.fixture(scope="module")
def server(loaded: LoadedModel) -> Iterator[RunningServer]:
    with start_server(lambda: loaded, max_body_bytes=1 << 20) as running:
        yield running


def embed_alone(directory: Path, text: str, pooling: str = "mean") -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """One text without padding and without our code; 12 tokens at most."""
    tokens = AutoTokenizer.from_pretrained(directory)(text, truncation=True, max_length=12, return_tensors="pt")
    model = BertModel.from_pretrained(directory, add_pooling_layer=False)
    with torch.no_grad():
        hidden = model(**tokens).last_hidden_state[0]
    pooled = {"mean": hidden.mean(0), "cls": hidden[0], "max": hidden.amax(0)}[pooling]
    vector: np.ndarray[tuple[int], np.dtype[np.float32]] = (pooled / pooled.norm()).numpy()
    return vector


def test_embeddings_of_a_batch_are_those_of_each_text_alone(loaded: LoadedModel, encoder: Path) -> None:
    assert (loaded.info.engine, loaded.info.task, loaded.info.dtype) == ("transformers", "embedding", "FP32")
    assert loaded.merge
    assert loaded.engine.signature.to_json() == {
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "embedding", "datatype": "FP32", "shape": [-1, 16]},
            {"name": "tokens", "datatype": "INT64", "shape": [-1]},
        ],
    }
    embeddings, tokens = loaded.engine.run([texts(*TEXTS)])
    assert tokens.tolist() == [6, 3, 12, 8, 3]
    for embedding, text in zip(embeddings, TEXTS, strict=True):
        assert np.allclose(embedding, embed_alone(encoder, text), atol=1e-5)


def test_many_texts_are_computed_in_passes_and_keep_their_order(loaded: LoadedModel) -> None:
    many = [" ".join(["fox"] * (1 + at % 9)) for at in range(100)]
    embeddings, tokens = loaded.engine.run([texts(*many)])
    assert tokens.tolist() == [3 + at % 9 for at in range(100)]
    assert np.allclose(embeddings[50], loaded.engine.run([texts(many[50])])[0][0], atol=1e-5)


@pytest.mark.parametrize("pooling", ["cls", "max"])
def test_the_pooling_is_the_one_that_the_directory_says(tmp_path: Path, pooling: str) -> None:
    directory = write_encoder(tmp_path / "model", pooling)
    (embeddings, _) = load_model(directory, OPTIONS).engine.run([texts("good", "bad film over the lazy dog")])
    for embedding, text in zip(embeddings, ["good", "bad film over the lazy dog"], strict=True):
        assert np.allclose(embedding, embed_alone(directory, text, pooling), atol=1e-5)


def test_without_modules_the_mean_is_taken_and_not_normalized(encoder: Path, tmp_path: Path) -> None:
    directory = write_encoder(tmp_path / "model")
    (directory / "modules.json").unlink()
    (embeddings, _) = load_model(directory, OPTIONS).engine.run([texts("good")])
    assert not np.isclose(np.linalg.norm(embeddings[0]), 1)
    assert np.allclose(embeddings[0] / np.linalg.norm(embeddings[0]), embed_alone(encoder, "good"), atol=1e-5)


def test_texts_are_classified_with_their_labels(tmp_path: Path) -> None:
    directory = write_classifier(tmp_path / "model")
    model = load_model(directory, OPTIONS)
    assert model.info.task == "classification"
    scores, labels, tokens = model.engine.run([texts("good film", "bad")])
    assert tokens.tolist() == [4, 3]
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-6)
    reference = BertForSequenceClassification.from_pretrained(directory)
    encoded = AutoTokenizer.from_pretrained(directory)("good film", return_tensors="pt")
    with torch.no_grad():
        expected = reference(**encoded).logits.softmax(dim=1)[0].numpy()
    assert np.allclose(scores[0], expected, atol=1e-5)
    assert labels.tolist() == [[b"bad", b"good"][best] for best in scores.argmax(axis=1)]


def test_weights_in_bf16_are_computed_in_bf16_where_the_cpu_can(encoder: Path, tmp_path: Path) -> None:
    directory = write_encoder(tmp_path / "model")
    weights = {name: tensor.bfloat16() for name, tensor in load_file(directory / "model.safetensors").items()}
    save_file(weights, directory / "model.safetensors", {"format": "pt"})
    model = load_model(directory, OPTIONS)
    assert model.info.dtype == "BF16"
    embedding = model.engine.run([texts("the quick brown fox")])[0][0]
    assert float(embedding @ embed_alone(encoder, "the quick brown fox")) > 0.999
    with pytest.raises(HardwareError, match="The model computes in BF16"):
        load_model(directory, replace(OPTIONS, features=frozenset({"avx2"})))


def test_text_that_is_no_utf_8_is_the_requests_fault(loaded: LoadedModel) -> None:
    with pytest.raises(InputRefusedError, match="no UTF-8"):
        loaded.engine.run([texts(b"\xff")])


def test_a_directory_with_a_manifest_holds_nothing_that_it_does_not_list(tmp_path: Path, loaded: LoadedModel) -> None:
    directory = write_classifier(tmp_path / "model")
    signature = load_model(directory, OPTIONS).engine.signature
    write_manifest(directory, "huggingface", signature)
    assert load_model(directory, OPTIONS).info.task == "classification"
    (directory / "modeling.py").write_text("raise SystemExit")
    with pytest.raises(ArtifactError, match=r"holds modeling\.py, which its manifest does not list"):
        load_model(directory, OPTIONS)


OWN_MODEL = """\
from pathlib import Path
from transformers import BertModel

Path(__file__).with_name("ran").touch()

class OwnModel(BertModel):
    pass
"""


def test_code_of_the_artifact_runs_only_when_it_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = write_encoder(tmp_path / "model")
    (directory / "own.py").write_text(OWN_MODEL)
    change_json(directory / "config.json", auto_map={"AutoModel": "own.OwnModel"})
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    with pytest.raises(ArtifactError, match=r"\(own\.OwnModel\), which runs only with MODELSERVICE_REMOTE_CODE=Allow"):
        load_model(directory, OPTIONS)
    assert not list(tmp_path.rglob("ran"))
    model = load_model(directory, replace(OPTIONS, remote_code=True))
    assert type(model.engine._model).__name__ == "OwnModel"  # type: ignore[attr-defined]


def changed(name: str, **fields: Any) -> Callable[[Path], object]:
    return lambda directory: change_json(directory / name, **fields)


def written(name: str, content: str) -> Callable[[Path], object]:
    return lambda directory: (directory / name).write_text(content)


OUTSIDE = '[{"type": "x.Transformer", "path": "../.."}]'
DENSE = '[{"type": "x.Transformer", "path": ""}, {"type": "x.Dense", "path": ""}]'
OWN_TOKENIZER = {"AutoTokenizer": ["own.T", None]}


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (changed("config.json", quantization_config={"quant_method": "odd"}), "is quantized with odd"),
        (written("1_Pooling/config.json", '{"pooling_mode": "weighted"}'), "pools by weighted; this worker knows cls"),
        (written("modules.json", OUTSIDE), r"names the folder '\.\./\.\.', which lies outside the model"),
        (written("modules.json", DENSE), "lists Transformer, Dense; this worker serves"),
        (written("modules.json", "[1]"), "is no list of modules"),
        (written("config.json", "{"), r"config\.json is not valid JSON"),
        (written("config.json", "[]"), r"config\.json must hold a JSON object"),
        (changed("config.json", num_hidden_layers=3), "the weights lack 16 tensors of the model"),
        (changed("config.json", model_type="unheard-of"), "could not be loaded by transformers"),
        (changed("tokenizer_config.json", auto_map=OWN_TOKENIZER), r"tokenizer_config\.json names code of its own"),
    ],
)
def test_what_cannot_be_served_is_refused_with_its_reason(
    tmp_path: Path, spoil: Callable[[Path], object], sentence: str
) -> None:
    directory = write_encoder(tmp_path / "model")
    spoil(directory)
    with pytest.raises(ArtifactError, match=sentence) as caught:
        load_model(directory, OPTIONS)
    assert "\n" not in str(caught.value)


def test_weights_for_a_gpu_are_the_hardwares_fault(tmp_path: Path) -> None:
    directory = write_encoder(tmp_path / "model")
    change_json(directory / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(HardwareError, match="quantized with gptq, for which a CPU has no kernels"):
        load_model(directory, OPTIONS)


def test_a_model_that_writes_text_is_sent_to_another_runtime(tmp_path: Path) -> None:
    directory = write_encoder(tmp_path / "model")
    (directory / "modules.json").unlink()
    change_json(directory / "config.json", architectures=["LlamaForCausalLM"])
    with pytest.raises(ArtifactError, match="holds a LlamaForCausalLM; this worker serves models for embeddings"):
        load_model(directory, OPTIONS)


@pytest.fixture
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_openais_client_gets_embeddings(client: openai.OpenAI, encoder: Path) -> None:
    response = client.embeddings.create(model="m", input=TEXTS)
    assert [item.index for item in response.data] == [0, 1, 2, 3, 4]
    assert (response.model, response.usage.prompt_tokens, response.usage.total_tokens) == ("m", 32, 32)
    for item, text in zip(response.data, TEXTS, strict=True):
        assert np.allclose(item.embedding, embed_alone(encoder, text), atol=1e-5)


def test_floats_and_base64_are_the_same_numbers(client: openai.OpenAI, server: RunningServer) -> None:
    numbers = client.embeddings.create(model="m", input="fox", encoding_format="float").data[0].embedding
    body = {"model": "m", "input": "fox", "encoding_format": "base64"}
    coded = server.client.post("/v1/embeddings", json=body).json()["data"][0]["embedding"]
    assert np.array_equal(np.frombuffer(base64.b64decode(coded), "<f4"), np.array(numbers, np.float32))


def test_openais_client_lists_the_model(client: openai.OpenAI) -> None:
    (model,) = client.models.list()
    assert (model.id, model.object, model.owned_by) == ("m", "model", "modelservice")
    assert client.models.retrieve("m").created > 1_700_000_000
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({"model": "other"}, 404, "There is no model other here"),
        ({"input": []}, 400, "a text or a list of texts"),
        ({"input": None}, 400, "a text or a list of texts"),
        ({"input": [1, 2]}, 400, "token numbers are not taken"),
        ({"input": [[1, 2]]}, 400, "token numbers are not taken"),
        ({"input": ["a", ""]}, 400, "not empty"),
        ({"input": ["a"] * 2049}, 400, "has 2049 texts; send at most 2048"),
        ({"dimensions": 8}, 400, "have 16 dimensions and cannot be shortened"),
        ({"encoding_format": "hex"}, 400, "float or base64"),
        ({"model": 5}, 400, "must be a JSON object with a model"),
    ],
)
def test_refusals_have_openais_form(
    server: RunningServer, fields: dict[str, object], status: int, sentence: str
) -> None:
    response = server.client.post("/v1/embeddings", json={"model": "m", "input": "a", **fields})
    assert response.status_code == status
    error = response.json()["error"]
    assert sentence in error["message"]
    assert error["type"] == "invalid_request_error"
    assert error["code"] == ("model_not_found" if status == 404 else None)


def test_the_right_dimensions_may_be_asked_for(server: RunningServer) -> None:
    response = server.client.post("/v1/embeddings", json={"model": "m", "input": "a", "dimensions": 16})
    assert len(response.json()["data"][0]["embedding"]) == 16


def test_a_model_without_embeddings_says_so_to_openais_client() -> None:
    with start_server(LogEngine()) as server:
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0)
        with client, pytest.raises(openai.BadRequestError, match="does not make embeddings; use its /v2 routes"):
            client.embeddings.create(model="m", input="a")
        assert server.client.get("/v1/embeddings").status_code == 405


class HeldEmbeddings(LogEngine):
    """Two numbers for each text, computed while `gate` is set."""

    signature = Signature(
        (TensorSpec("text", "BYTES", (Range("rows"),)),),
        (TensorSpec("embedding", "FP32", (Range("rows"), 2)), TensorSpec("tokens", "INT64", (Range("rows"),))),
    )

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        self.entered.set()
        assert self.gate.wait(DEADLINE_SECONDS)
        rows = len(inputs[0])
        return [np.ones((rows, 2), np.float32), np.ones(rows, np.int64)]

    def example(self, rows: int) -> list[Array]:
        return [texts(*[b"a"] * rows)]


def test_openais_client_knows_what_to_send_again() -> None:
    engine = HeldEmbeddings()
    loading = threading.Event()

    def load() -> LoadedModel:
        assert loading.wait(DEADLINE_SECONDS)
        return LoadedModel(engine, replace(INFO, task="embedding"))

    with (
        start_server(load, wait_for_model=False, max_queue_requests=1) as server,
        ThreadPoolExecutor(2) as pool,
        openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0) as client,
    ):
        ask = partial(client.embeddings.create, model="m", input="a")
        with pytest.raises(openai.InternalServerError, match="is still loading; try again soon") as caught:
            ask()
        assert caught.value.status_code == 503
        loading.set()
        wait_until(lambda: server.ready, "readiness")
        engine.gate.clear()
        engine.entered.clear()
        computed = pool.submit(ask)
        assert engine.entered.wait(DEADLINE_SECONDS)
        queued = pool.submit(ask)
        wait_until(lambda: server.metric('modelservice_requests_waiting{model_name="m"}') == 1, "a queue")
        with pytest.raises(openai.RateLimitError, match="queue of this server is full") as refused:
            ask()
        assert refused.value.response.headers["retry-after"] == "1"
        engine.gate.set()
        assert [future.result().data[0].embedding for future in (computed, queued)] == [[1, 1], [1, 1]]


def test_texts_may_be_sent_by_the_open_inference_protocol_too(server: RunningServer, encoder: Path) -> None:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["fox", "good"]}
    answer: httpx.Response = server.client.post("/v2/models/m/infer", json={"inputs": [tensor]})
    embedding, tokens = json.loads(answer.content)["outputs"]
    assert tokens["data"] == [3, 3]
    assert np.allclose(np.array(embedding["data"]).reshape(2, 16)[1], embed_alone(encoder, "good"), atol=1e-5)
