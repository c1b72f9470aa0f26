"""Engines beside torch.export: what they compute, what they refuse, and how an artifact chooses one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from modelservice_workers.common.cpufeatures import check_dtype, read_features
from modelservice_workers.common.datatypes import Array
from modelservice_workers.common.errors import ArtifactError, HardwareError
from modelservice_workers.common.signature import Range, Signature, TensorSpec
from modelservice_workers.serving.engine import Engine, InputRefusedError
from modelservice_workers.serving.engines.catalog import choose_engine
from modelservice_workers.serving.execution import Failure, Outcome, run_batch
from modelservice_workers.serving.model import load_model
from torch import nn

from tests.unit.workers.engines import OPTIONS
from tests.unit.workers.models import export
from tests.unit.workers.onnxmodels import (
    WEIGHTS,
    quantize,
    write_external,
    write_int8_matmul,
    write_lookup,
    write_manifest,
    write_matmul,
    write_openvino,
    write_row_mixer,
    write_text_echo,
)

pytestmark = pytest.mark.timeout(120)

ROWS = Range("rows")
X = np.random.default_rng(1).standard_normal((5, 8)).astype(np.float32)
MATMUL = Signature((TensorSpec("features", "FP32", (ROWS, 8)),), (TensorSpec("scores", "FP32", (ROWS, 4)),))


def shapes(signature: Signature) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(spec.name, spec.datatype, spec.shape) for spec in (*signature.inputs, *signature.outputs)]


def test_an_onnx_file_is_computed_by_onnx_runtime(tmp_path: Path) -> None:
    model = load_model(write_matmul(tmp_path / "m.onnx"), OPTIONS)
    assert (model.info.engine, model.info.platform, model.info.dtype) == ("onnxruntime", "onnxruntime_onnx", "FP32")
    assert shapes(model.engine.signature) == [("x", "FP32", (-1, 8)), ("y", "FP32", (-1, 4))]
    assert model.merge
    for rows in (1, 5):
        (y,) = model.engine.run([X[:rows]])
        assert np.allclose(y, X[:rows] @ WEIGHTS, atol=1e-5)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_manifest_of_an_onnx_artifact_chooses_its_engine_and_names(tmp_path: Path, engine: str) -> None:
    write_matmul(tmp_path / "model.onnx")
    model = load_model(write_manifest(tmp_path, "onnx", MATMUL, engine=engine), OPTIONS)
    assert model.info.engine == engine
    assert shapes(model.engine.signature) == [("features", "FP32", (-1, 8)), ("scores", "FP32", (-1, 4))]
    assert np.allclose(model.engine.run([X])[0], X @ WEIGHTS, atol=1e-5)


def test_an_openvino_artifact_is_computed_in_fp32_as_it_was_written(tmp_path: Path) -> None:
    write_openvino(tmp_path / "a", write_matmul(tmp_path / "m.onnx"))
    model = load_model(write_manifest(tmp_path / "a", "openvino", MATMUL), OPTIONS)
    assert (model.info.engine, model.info.platform, model.info.dtype) == ("openvino", "openvino_cpu", "FP32")
    assert model.merge
    assert np.allclose(model.engine.run([X])[0], X @ WEIGHTS, atol=1e-5)


def test_openvino_computes_in_bf16_when_the_manifest_says_so(tmp_path: Path) -> None:
    write_openvino(tmp_path / "a", write_matmul(tmp_path / "m.onnx"))
    options = replace(OPTIONS, features=read_features({}) | {"avx512_bf16"})
    model = load_model(write_manifest(tmp_path / "a", "openvino", MATMUL, dtype="BF16"), options)
    assert model.info.dtype == "BF16"
    (y,) = model.engine.run([X])
    assert np.abs(y - X @ WEIGHTS).max() < 0.1


def test_int8_weights_are_computed_by_both(tmp_path: Path) -> None:
    source = write_int8_matmul(tmp_path / "model.onnx")
    (tmp_path / "onnx").mkdir()
    source.rename(tmp_path / "onnx" / "model.onnx")
    write_openvino(tmp_path / "ov", tmp_path / "onnx" / "model.onnx")
    for model in (
        load_model(write_manifest(tmp_path / "onnx", "onnx", MATMUL, dtype="INT8"), OPTIONS),
        load_model(write_manifest(tmp_path / "ov", "openvino", MATMUL), OPTIONS),
    ):
        assert model.info.dtype == "INT8"
        (y,) = model.engine.run([X])
        assert 0 < np.abs(y - X @ WEIGHTS).max() < 0.1


class Int8Linear(nn.Module):
    """WEIGHTS as INT8 and a scale."""

    def __init__(self) -> None:
        super().__init__()
        weights, scale = quantize(WEIGHTS)
        self.weights = nn.Buffer(torch.from_numpy(weights))
        self.scale = float(scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ (self.weights.float() * self.scale)


def test_int8_weights_are_computed_by_torch(tmp_path: Path) -> None:
    model = load_model(export(Int8Linear(), (torch.ones(2, 8),), tmp_path / "m.pt2"), OPTIONS)
    assert (model.info.engine, model.info.dtype) == ("torch", "INT8")
    assert 0 < np.abs(model.engine.run([X])[0] - X @ WEIGHTS).max() < 0.1


def texts(*values: bytes) -> Array:
    array = np.empty(len(values), np.object_)
    array[:] = values
    return array


def test_texts_go_through_onnx_runtime(tmp_path: Path) -> None:
    engine = load_model(write_text_echo(tmp_path / "m.onnx"), OPTIONS).engine
    assert shapes(engine.signature) == [("text", "BYTES", (-1,)), ("echo", "BYTES", (-1,))]
    assert engine.run([texts(b"a", "zwölf".encode(), b"")])[0].tolist() == [b"a", "zwölf".encode(), b""]
    with pytest.raises(InputRefusedError, match="no UTF-8"):
        engine.run([texts(b"\xff")])


def test_inputs_that_onnx_runtime_does_not_take_are_the_requests_fault(tmp_path: Path) -> None:
    engine = load_model(write_matmul(tmp_path / "m.onnx"), OPTIONS).engine
    with pytest.raises(InputRefusedError, match="does not take these inputs"):
        engine.run([np.ones((1, 9), np.float32)])


class Lookup(nn.Module):
    """Five rows of a table by their numbers; it takes no number above 3."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Buffer(torch.arange(5.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch._assert_async((x < 4).all(), "numbers are below 4")
        return self.table[x]


def ask(engine: Engine, *numbers: int) -> Outcome:
    return run_batch(engine, [[np.array([number])] for number in numbers]).outcomes[-1]


def test_a_value_that_a_model_does_not_take_is_the_requests_fault_with_every_engine(tmp_path: Path) -> None:
    torch_engine = load_model(export(Lookup(), (torch.tensor([1, 2]),), tmp_path / "m.pt2"), OPTIONS).engine
    onnx = write_lookup(tmp_path / "model.onnx")
    onnx_engine = load_model(onnx, OPTIONS).engine
    openvino = load_model(write_openvino(tmp_path / "ov", onnx), OPTIONS).engine
    assert ask(torch_engine, 1, 4) == Failure(422, "The model cannot compute this input: numbers are below 4")
    assert ask(torch_engine, 1, -9) == Failure(
        422, "The model cannot compute this input: index -9 is out of bounds for dimension 0 with size 5"
    )
    for engine in (onnx_engine, openvino):
        for _ in range(2):
            outcome = ask(engine, 3, 9)
            assert isinstance(outcome, Failure), "and never the answer of the request before"
            assert outcome.status in (400, 422)
            assert "\n" not in outcome.message
    for engine in (torch_engine, onnx_engine, openvino):
        (result,) = ask(engine, 9, 3)  # type: ignore[misc] # an outcome with arrays
        assert result.tolist() == [3.0]


def test_failures_leave_nothing_behind_in_openvino(tmp_path: Path) -> None:
    source = write_openvino(tmp_path / "ov", write_lookup(tmp_path / "model.onnx"))
    engine = load_model(source, OPTIONS).engine
    random = Random(3)
    for _ in range(300):
        numbers = [random.choice((0, 1, 2, 3, 4, 9)) for _ in range(random.choice((1, 1, 2, 3, 5)))]
        if 9 in numbers:
            with pytest.raises(RuntimeError):
                engine.run([np.array(numbers)])
        else:
            assert engine.run([np.array(numbers)])[0].tolist() == numbers


def test_a_model_that_mixes_rows_is_never_given_two_requests_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = load_model(write_row_mixer(tmp_path / "m.onnx"), OPTIONS)
    assert not model.merge
    assert "Rows of one batch change each other's outputs" in caplog.text


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("absolute", [False, True])
def test_weights_outside_of_the_artifact_are_not_read(tmp_path: Path, engine: str, *, absolute: bool) -> None:
    (tmp_path / "secret").write_bytes(WEIGHTS.tobytes())
    (tmp_path / "a").mkdir()
    write_external(tmp_path / "a" / "model.onnx", str(tmp_path / "secret") if absolute else "../secret")
    artifact = write_manifest(tmp_path / "a", "onnx", MATMUL, engine=engine)
    with pytest.raises(ArtifactError, match=r"model\.onnx could not be loaded by"):
        load_model(artifact, OPTIONS)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_weights_beside_a_model_are_read_when_the_manifest_lists_them(tmp_path: Path, engine: str) -> None:
    write_external(tmp_path / "model.onnx", "model.onnx_data")
    (tmp_path / "model.onnx_data").write_bytes(WEIGHTS.tobytes())
    model = load_model(write_manifest(tmp_path, "onnx", MATMUL, engine=engine), OPTIONS)
    assert np.allclose(model.engine.run([X])[0], X @ WEIGHTS, atol=1e-5)


def add_onnx_data(directory: Path) -> str:
    write_external(directory / "model.onnx", "model.onnx_data")
    return "model.onnx_data"


def add_openvino_weights(directory: Path) -> str:
    source = write_matmul(directory / "m.onnx")
    write_openvino(directory, source)
    source.unlink()
    (directory / "model.bin").rename(directory.parent / "model.bin")
    return "model.bin"


@pytest.mark.parametrize(
    ("name", "write"),
    [("onnx", add_onnx_data), ("openvino", add_openvino_weights)],
)
def test_a_file_that_the_manifest_does_not_list_is_refused_since_an_engine_would_open_it(
    tmp_path: Path, name: str, write: Callable[[Path], str]
) -> None:
    directory = tmp_path / "a"
    directory.mkdir()
    beside = write(directory)
    write_manifest(directory, name, MATMUL)
    (directory / beside).write_bytes(WEIGHTS.tobytes())
    with pytest.raises(ArtifactError, match=f"holds {beside}, which its manifest does not list; publish it again"):
        load_model(directory, OPTIONS)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("m.onnx", b"no model", r"m\.onnx could not be loaded by ONNX Runtime"),
        ("m.xml", b"<net/>", r"m\.xml could not be loaded by OpenVINO"),
        ("m.xml", b"no model", r"m\.xml could not be loaded by OpenVINO"),
        ("m.pickle", b"x", r"m\.pickle is no model that this worker loads by itself: \.pt2, \.onnx, \.xml"),
    ],
)
def test_files_that_are_no_models_are_refused_by_name(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=sentence) as caught:
        load_model(tmp_path / name, OPTIONS)
    assert "\n" not in str(caught.value)


def test_a_format_is_loaded_by_the_engines_that_can() -> None:
    assert choose_engine("onnx", None) == "onnxruntime"
    assert choose_engine("onnx", "openvino") == "openvino"
    with pytest.raises(ArtifactError, match=r"has the format 'gguf'; this worker loads torch\.export, onnx, openvino"):
        choose_engine("gguf", None)
    with pytest.raises(ArtifactError, match=r"asks for the engine 'torch'; .* is loaded by onnxruntime or openvino"):
        choose_engine("onnx", "torch")


@pytest.mark.parametrize(
    ("library", "extra"), [("onnxruntime", "onnx"), ("openvino", "openvino"), ("transformers", "huggingface")]
)
def test_an_engine_that_the_image_lacks_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, extra: str
) -> None:
    for module in [name for name in sys.modules if name.startswith("modelservice_workers.serving.engines.")]:
        if module.rpartition(".")[2] in ("onnx_runtime", "openvino_runtime", "transformers_text"):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    path = {
        "onnxruntime": tmp_path / "m.onnx",
        "openvino": tmp_path / "m.xml",
        "transformers": tmp_path,
    }[library]
    (tmp_path / "m.onnx").write_bytes(b"x")
    (tmp_path / "m.xml").write_bytes(b"x")
    (tmp_path / "config.json").write_bytes(b"{}")
    with pytest.raises(ArtifactError, match=f"does not have {library}; use an image with the extra '{extra}'"):
        load_model(path, OPTIONS)


def test_a_dtype_that_the_cpu_does_not_have_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "model.xml").write_bytes(b"never read")
    options = replace(OPTIONS, features=frozenset({"avx2"}))
    with pytest.raises(HardwareError, match=r"computes in BF16, which needs .*; serve another variant"):
        load_model(write_manifest(tmp_path, "openvino", MATMUL, dtype="BF16"), options)


@pytest.mark.parametrize(
    ("dtype", "features", "machine", "refused"),
    [
        ("BF16", {"avx2"}, "x86_64", True),
        ("BF16", {"avx512_bf16"}, "x86_64", False),
        ("BF16", {"amx_bf16"}, "x86_64", False),
        ("BF16", {"asimd"}, "aarch64", True),
        ("BF16", {"bf16"}, "aarch64", False),
        ("BF16", set(), "riscv64", False),
        ("FP32", set(), "x86_64", False),
        ("INT8", {"avx2"}, "x86_64", False),
    ],
)
def test_number_formats_need_features(dtype: str, features: set[str], machine: str, refused: bool) -> None:  # noqa: FBT001
    if refused:
        with pytest.raises(HardwareError, match="bf16"):
            check_dtype(dtype, frozenset(features), machine)
    else:
        check_dtype(dtype, frozenset(features), machine)


def test_cpu_features_are_read_and_may_be_hidden(tmp_path: Path) -> None:
    x86, arm = tmp_path / "x86", tmp_path / "arm"
    x86.write_text("processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16\n\nflags\t\t: other\n")
    arm.write_text("Features\t: asimd bf16\n")
    assert read_features({}, x86) == {"fpu", "avx2", "avx512_bf16"}
    assert read_features({}, arm) == {"asimd", "bf16"}
    assert read_features({"MODELSERVICE_HIDE_CPU_FEATURES": "avx512_bf16 amx_bf16"}, x86) == {"fpu", "avx2"}
    assert read_features({}, tmp_path / "none") == frozenset()
