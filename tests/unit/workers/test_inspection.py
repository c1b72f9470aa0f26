"""What the headers of a model tell (cases C23 and C26), and what is said of headers that cannot be believed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import onnx
import pytest
from modelservice_workers.common.datatypenames import DATATYPES
from modelservice_workers.common.datatypes import NUMPY_DTYPES
from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.inspection.inspecting import inspect
from modelservice_workers.inspection.text import describe
from modelservice_workers.main import run

from tests.unit.workers.headers import dense, gguf, write_config, write_safetensors
from tests.unit.workers.models import export_linear

pytestmark = pytest.mark.timeout(120)

GIB = 2**30
WORKERS = Path(__file__).resolve().parents[3] / "workers"
LLAMA_8B = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 128256,
}


def llama_8b(directory: Path) -> Path:
    """Four shards with an index, as the model is published."""
    write_config(directory, **LLAMA_8B)
    tensors = dense(32, 4096, 14336, 128256, (32, 8, 128))
    names, places = list(tensors), {}
    for shard in range(4):
        own = {name: tensors[name] for name in names[shard::4]}
        file = f"model-0000{shard + 1}-of-00004.safetensors"
        write_safetensors(directory / file, own)
        places.update(dict.fromkeys(own, file))
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return directory


def test_a_sharded_model_is_told_by_its_headers(tmp_path: Path) -> None:
    started = time.monotonic()
    facts = inspect(llama_8b(tmp_path))
    assert time.monotonic() - started < 10, "headers only: the files have 15 GiB"
    assert facts.to_json() == json.loads((Path(__file__).parents[2] / "manifests/facts/llama-3.1-8b.json").read_text())
    assert facts.weights.parameters == 8_030_261_248, "as its model card says"
    assert facts.architecture.cache is not None
    assert facts.architecture.cache.elements_per_token() * 2 == 131_072
    assert describe(facts).splitlines() == [
        "format       safetensors, 4 files",
        "weights      14.96 GiB (BF16 14.96 GiB)",
        "parameters   8,030,261,248",
        "architecture LlamaForCausalLM",
        "shape        32 layers, 32 heads, hidden size 4096",
        "cache        GQA, 8 heads of 128 in 32 layers",
        "             131,072 bytes a token in 16 bits",
        "context      at most 131,072 tokens",
    ]


def seventy(**more: Any) -> dict[str, Any]:
    return {
        **LLAMA_8B,
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_attention_heads": 64,
        "num_hidden_layers": 80,
        **more,
    }


def test_c26_a_model_of_72_billion_weights_in_4_bits_takes_what_its_files_have(tmp_path: Path) -> None:
    write_config(
        tmp_path,
        **seventy(
            architectures=["Qwen2ForCausalLM"],
            intermediate_size=29568,
            vocab_size=152064,
            torch_dtype="float16",
            quantization_config={"quant_method": "gptq", "bits": 4, "group_size": 128},
        ),
    )
    write_safetensors(tmp_path / "model.safetensors", dense(80, 8192, 29568, 152064, (64, 8, 128), "gptq"))
    facts = inspect(tmp_path)
    assert 38 * GIB < facts.size_bytes < 42 * GIB, "and not 162.9 GiB, as its 16 bits of arithmetic would have it"
    assert facts.weights.parameters == pytest.approx(72.7e9, rel=0.01), "eight weights in each 32 bits"
    assert facts.architecture.quantization == "gptq"


def test_c26_an_fp8_model_with_embeddings_in_16_bits_takes_what_the_engine_measured(tmp_path: Path) -> None:
    config = {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 8}}}}
    write_config(tmp_path, **seventy(quantization_config=config))
    write_safetensors(tmp_path / "model.safetensors", dense(80, 8192, 28672, 128256, (64, 8, 128), "F8_E4M3"))
    facts = inspect(tmp_path)
    assert facts.size_bytes / GIB == pytest.approx(67.72, abs=0.1), "vLLM said 67.72"
    assert facts.weights.parameters == pytest.approx(70.55e9, rel=0.01), "scales are no parameters"


def test_c26_a_name_without_a_number_does_not_matter(tmp_path: Path) -> None:
    directory = tmp_path / "our-assistant"
    write_config(directory, architectures=["LlamaForCausalLM"])
    write_safetensors(directory / "weights.safetensors", {"model.embed_tokens.weight": ("BF16", (1000, 100))})
    facts = inspect(directory)
    assert (facts.size_bytes, facts.weights.parameters) == (200_000, 100_000)


def test_c26_tensors_win_over_a_configuration_that_speaks_of_another_format(tmp_path: Path) -> None:
    write_config(tmp_path, **LLAMA_8B, quantization_config={"quant_method": "gptq", "bits": 4})
    write_safetensors(tmp_path / "model.safetensors", dense(32, 4096, 14336, 128256, (32, 8, 128)))
    facts = inspect(tmp_path)
    assert facts.weights.parameters == 8_030_261_248
    assert facts.weights.notes == ("config.json speaks of gptq, and every tensor is stored as BF16: that counts.",)


def test_a_head_that_repeats_the_embeddings_is_not_loaded_twice(tmp_path: Path) -> None:
    write_config(tmp_path, **{**LLAMA_8B, "tie_word_embeddings": True})
    write_safetensors(tmp_path / "model.safetensors", dense(1, 64, 128, 1000, (4, 2, 16)))
    facts = inspect(tmp_path)
    assert facts.weights.notes == ("lm_head.weight repeats the embeddings and is not loaded twice.",)
    write_config(tmp_path, **LLAMA_8B)
    assert inspect(tmp_path).size_bytes - facts.size_bytes == 1000 * 64 * 2


@pytest.mark.parametrize(
    ("config", "kind", "elements"),
    [
        ({}, "GQA", 32 * 8 * 2 * 128),
        ({"num_key_value_heads": 32}, "MHA", 32 * 32 * 2 * 128),
        ({"num_key_value_heads": 1}, "MQA", 32 * 2 * 128),
        ({"head_dim": 64}, "GQA", 32 * 8 * 2 * 64),
        ({"kv_lora_rank": 512, "qk_rope_head_dim": 64}, "MLA", 32 * 576),
        ({"layer_types": ["linear_attention"] * 24 + ["full_attention"] * 8}, "GQA", 8 * 8 * 2 * 128),
    ],
)
def test_what_a_token_leaves_in_the_cache(tmp_path: Path, config: dict[str, Any], kind: str, elements: int) -> None:
    write_config(tmp_path, **{**LLAMA_8B, **config})
    write_safetensors(tmp_path / "model.safetensors", {"w": ("BF16", (1,))})
    shape = inspect(tmp_path).architecture
    assert shape.cache is not None
    assert (shape.cache.kind(shape.heads), shape.cache.elements_per_token()) == (kind, elements)


@pytest.mark.parametrize(
    ("config", "sliding"),
    [
        ({"sliding_window": 4096}, 32),
        ({"sliding_window": 4096, "use_sliding_window": False}, 0),
        ({"sliding_window": 1024, "sliding_window_pattern": 6}, 27),
        ({"sliding_window": 4096, "model_type": "gemma2"}, 16),
        ({"sliding_window": 128, "layer_types": ["sliding_attention", "full_attention"] * 16}, 16),
    ],
)
def test_layers_that_keep_only_the_last_tokens(tmp_path: Path, config: dict[str, Any], sliding: int) -> None:
    write_config(tmp_path, **{**LLAMA_8B, **config})
    write_safetensors(tmp_path / "model.safetensors", {"w": ("BF16", (1,))})
    cache = inspect(tmp_path).architecture.cache
    assert cache is not None
    assert (cache.layers, cache.sliding) == (32, sliding)


def test_an_encoder_has_no_cache_and_older_names_of_sizes_are_known(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", {"w": ("F32", (10,))})
    write_config(tmp_path, architectures=["BertModel"], num_hidden_layers=6, num_attention_heads=12, hidden_size=384)
    assert inspect(tmp_path).architecture.cache is None
    write_config(tmp_path, architectures=["GPT2LMHeadModel"], n_layer=12, n_head=12, n_embd=768, n_positions=1024)
    shape = inspect(tmp_path).architecture
    assert (shape.layers, shape.context_limit, shape.cache and shape.cache.elements_per_token()) == (12, 1024, 18432)


def test_a_model_that_sees_images_has_the_shape_of_its_text_part(tmp_path: Path) -> None:
    text = {key: value for key, value in LLAMA_8B.items() if key != "architectures"}
    write_safetensors(tmp_path / "model.safetensors", {"w": ("BF16", (1,))})
    write_config(
        tmp_path, architectures=["Mistral3ForConditionalGeneration"], text_config=text, vision_config={"hidden_size": 1}
    )
    shape = inspect(tmp_path).architecture
    assert (shape.vision, shape.hidden, shape.cache is not None) == (True, 4096, True)


def test_c23_one_copy_of_the_weights_is_counted(tmp_path: Path) -> None:
    llama_8b(tmp_path)
    for name in ("consolidated.safetensors", "original/consolidated.safetensors"):
        write_safetensors(tmp_path / name, dense(32, 4096, 14336, 128256, (32, 8, 128)))
    for name in ("pytorch_model.bin", "optimizer.pt"):
        (tmp_path / name).write_bytes(bytes(1000))
    facts = inspect(tmp_path)
    assert facts.weights.parameters == 8_030_261_248
    assert len(facts.files) == 4


GGUF = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.context_length": 2048,
    "tokenizer.ggml.tokens": ["a", "b", "c"],
}


def test_gguf_tells_its_shape_and_how_its_weights_are_packed(tmp_path: Path) -> None:
    path = tmp_path / "model-Q4_K_M.gguf"
    path.write_bytes(gguf(GGUF, [("token_embd.weight", (256, 4), 12), ("output_norm.weight", (64,), 0)], 1000))
    facts = inspect(path)
    assert facts.to_json() == {
        "version": 1,
        "format": "gguf",
        "files": ["model-Q4_K_M.gguf"],
        "bytes": 832,
        "parameters": 1088,
        "datatypes": {"FP32": 256, "Q4_K": 576},
        "architecture": "llama",
        "layers": 2,
        "heads": 4,
        "hidden": 64,
        "vocabulary": 3,
        "contextLimit": 2048,
        "cache": {"kind": "GQA", "layers": 2, "heads": 2, "keySize": 16, "valueSize": 16, "elementsPerToken": 128},
    }


def test_two_ggufs_of_one_model_are_not_added_up(tmp_path: Path) -> None:
    for name in ("a-Q4.gguf", "a-Q8.gguf"):
        (tmp_path / name).write_bytes(gguf(GGUF, [], 0))
    with pytest.raises(ArtifactError, match=r"several models: a-Q4\.gguf, a-Q8\.gguf; end the storage URI"):
        inspect(tmp_path)


def onnx_model(directory: Path, *, external: bool) -> Path:
    make = onnx.helper
    weights = [
        make.make_tensor("w", onnx.TensorProto.FLOAT, [4, 3], [0.0] * 12),
        make.make_tensor("n", onnx.TensorProto.INT64, [2], [1, 2]),
        make.make_tensor("h", onnx.TensorProto.FLOAT16, [512], bytes(1024), raw=True),
    ]
    inputs = [make.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4])]
    outputs = [make.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3])]
    graph = make.make_graph([make.make_node("MatMul", ["x", "w"], ["y"])], "g", inputs, outputs, weights)
    path = directory / "model.onnx"
    model = make.make_model(graph)
    onnx.save_model(model, str(path), save_as_external_data=external, location="model.onnx.data", size_threshold=16)
    return path


@pytest.mark.parametrize("external", [False, True])
def test_onnx_is_counted_without_a_library(tmp_path: Path, *, external: bool) -> None:
    facts = inspect(onnx_model(tmp_path, external=external))
    assert facts.weights.bytes_of == {"FP32": 48, "INT64": 16, "FP16": 1024}
    assert facts.weights.parameters == 526


def test_onnx_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    path = onnx_model(tmp_path, external=True)
    beside = tmp_path / "model.onnx.data"
    beside.write_bytes(beside.read_bytes()[:100])
    with pytest.raises(ArtifactError, match=r"model\.onnx\.data has 100 bytes and model\.onnx needs"):
        inspect(path)
    beside.unlink()
    with pytest.raises(ArtifactError, match=r"model\.onnx\.data is missing although model\.onnx has weights there"):
        inspect(path)


def test_a_program_of_torch_is_counted(tmp_path: Path) -> None:
    facts = inspect(export_linear(tmp_path / "linear.pt2"))
    assert (facts.format, facts.weights.bytes_of, facts.weights.parameters) == ("torch.export", {"FP32": 16}, 2)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("x.safetensors", b"", "is no safetensors file or is cut short"),
        ("x.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        ("x.safetensors", b"\x02" + bytes(7) + b"[]", "is no safetensors file"),
        ("x.safetensors", b"\x11" + bytes(7) + b'{"a":{"dtype":1}}', "has a damaged safetensors header"),
        ("x.gguf", b"GGML", "its first four bytes are not 'GGUF'"),
        ("x.gguf", b"GGUF\x09\0\0\0", "it has version 9, and versions 2 and 3 are known"),
        ("x.gguf", b"GGUF\x03\0\0\0" + b"\xff" * 16, "it speaks of 18,446,744,073,709,551,615 things in 24 bytes"),
        ("x.gguf", b"GGUF\x03\0\0\0\0", "its header is cut short"),
        ("x.onnx", b"", "it holds no graph"),
        ("x.onnx", b"\x3a\xff\xff\xff\x7f", "its fields do not fit into it"),
        ("x.onnx", b"\xff" * 20, "it is cut short"),
        ("x.pt2", b"", r"is no whole \.pt2 file"),
        ("x.pt2", b"PK" + bytes(100), r"is no whole \.pt2 file"),
        ("x.txt", b"", r"is none of \.safetensors, \.gguf, \.onnx, \.pt2; name such a file"),
    ],
)
def test_what_is_no_model_is_told_in_one_sentence(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=sentence) as raised:
        inspect(tmp_path / name)
    assert name in str(raised.value)


def test_a_shape_that_its_bytes_do_not_bear_out_is_not_believed(tmp_path: Path) -> None:
    text = json.dumps({"w": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    with pytest.raises(ArtifactError, match="has a damaged safetensors header"):
        inspect(path)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("[]", "is no JSON object"),
        ("{", "is no JSON object"),
        ('{"num_hidden_layers": -1}', "gives '-1' for num_hidden_layers, which must be a whole number"),
        ('{"hidden_size": 1e99}', "for hidden_size, which must be a whole number"),
        ('{"num_attention_heads": "x"}', "gives 'x' for num_attention_heads"),
    ],
)
def test_a_configuration_that_is_none_is_told(tmp_path: Path, config: str, sentence: str) -> None:
    write_safetensors(tmp_path / "model.safetensors", {"w": ("BF16", (1,))})
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ArtifactError, match=sentence):
        inspect(tmp_path)


def spoil(random: Random, content: bytes) -> bytes:
    """The content cut, doubled, or with some bytes changed; most of it in the first kilobyte, where headers are."""
    action = random.random()
    if action < 0.3:
        return content[: random.randrange(len(content))]
    if action < 0.4:
        at = random.randrange(len(content))
        return content[:at] + content[at // 2 : at] + content[at:]
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 8))):
        changed[random.randrange(min(len(content), 1024))] = random.choice((0, 1, 127, 128, 255, random.randrange(256)))
    return bytes(changed)


def write_program(path: Path) -> None:
    """The parts of a torch.export archive that are looked at."""
    tensor = {"dtype": 7, "sizes": [{"as_int": 3}, {"as_int": 4}]}
    entry = {"path_name": "weight_0", "is_param": True, "use_pickle": False, "tensor_meta": tensor}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("m/data/weights/model_weights_config.json", json.dumps({"config": {"a": entry, "b": entry}}))
        archive.writestr("m/data/weights/weight_0", bytes(96))
        archive.writestr("m/models/model.json", "{}")


@pytest.mark.parametrize("kind", ["safetensors", "gguf", "onnx", "pt2", "config.json"])
def test_hostile_headers_give_facts_or_one_sentence(tmp_path: Path, kind: str) -> None:
    random = Random(kind)
    path = tmp_path / f"model.{kind}" if kind != "config.json" else tmp_path / kind
    match kind:
        case "safetensors":
            write_safetensors(path, dense(1, 8, 8, 10, (2, 1, 4)))
        case "gguf":
            path.write_bytes(gguf(GGUF, [("token_embd.weight", (256, 4), 12)], 1000))
        case "onnx":
            onnx_model(tmp_path, external=True)
        case "pt2":
            write_program(path)
        case _:
            write_safetensors(tmp_path / "model.safetensors", {"w": ("BF16", (1,))})
            write_config(tmp_path, **LLAMA_8B, quantization_config={"bits": 4, "config_groups": {"g": {"weights": {}}}})
    target = tmp_path if kind == "config.json" else path
    whole, refused = path.read_bytes(), []
    for _ in range(1000):
        path.write_bytes(spoil(random, whole))
        try:
            facts = inspect(target)
        except ArtifactError as error:
            refused.append(str(error))
        else:
            assert facts.size_bytes < 1 << 40
            json.dumps(facts.to_json())
            describe(facts)
    assert len(refused) > 200
    assert not any("\n" in sentence for sentence in refused)
    path.write_bytes(whole)
    inspect(target)


def test_an_archive_that_says_it_is_huge_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/models/model.json", "{}")
        archive.writestr("m/data/weights/model_weights_config.json", b" " * (80 << 20))
    with pytest.raises(ArtifactError, match=r"is no whole \.pt2 file"):
        inspect(path)


def test_looking_needs_neither_torch_nor_numpy(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf(GGUF, [], 0))
    block = "import sys; sys.modules.update(dict.fromkeys(('torch', 'numpy', 'fsspec', 'huggingface_hub')))"
    code = f"{block}; from modelservice_workers.main import run; sys.exit(run(sys.argv[1:], {{}}))"
    words, found = [sys.executable, "-c", code, "inspect", str(path)], {**os.environ, "PYTHONPATH": str(WORKERS)}
    done = subprocess.run(words, env=found, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_datatypes_are_those_that_arrays_can_have() -> None:
    assert set(NUMPY_DTYPES) == DATATYPES


def test_the_command_prints_a_document_or_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf(GGUF, [], 0))
    assert run(["inspect", str(path), "-o", "json"], {}) == 0
    assert json.loads(capsys.readouterr().out)["architecture"] == "llama"
    assert run(["inspect", str(path)], {}) == 0
    assert capsys.readouterr().out.startswith("format       gguf\n")
    assert run(["inspect", str(tmp_path / "gone")], {}) == 1
    said = capsys.readouterr()
    assert said.out == ""
    what = "name a directory with a model or a file of weights"
    assert said.err == f"modelservice-worker: {tmp_path / 'gone'} does not exist; {what}.\n"
