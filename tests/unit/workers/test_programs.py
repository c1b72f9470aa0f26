"""Exported programs: the signature they state, what is refused, and how they compute."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from modelservice_workers.common.artifacts import MANIFEST_NAME, MODEL_NAME
from modelservice_workers.common.datatypes import Array, from_bfloat16, to_bfloat16
from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.common.program import Program, load_program
from modelservice_workers.common.signature import Range, TensorSpec
from modelservice_workers.serving.engine import InputRefusedError
from modelservice_workers.serving.engines.torch_program import TorchEngine
from modelservice_workers.serving.model import load_model
from torch import nn
from torch.export import Dim

from tests.unit.workers.engines import OPTIONS
from tests.unit.workers.models import Linear, Log, export, make_artifact

pytestmark = pytest.mark.timeout(120)


def engine_of(program: Program) -> TorchEngine:
    return TorchEngine(program, program.signature, threads=1)


def test_the_signature_comes_from_the_program(linear_model: Path) -> None:
    program = load_program(linear_model)
    assert program.signature.to_json() == {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
    }
    assert program.signature.rows is not None
    assert (program.signature.rows.smallest, program.signature.rows.largest) == (1, None)
    assert program.dtype == "FP32"


def test_a_program_computes_with_its_parameters_and_buffers(linear_model: Path) -> None:
    engine = engine_of(load_program(linear_model))
    for rows in (1, 2, 7):
        x = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
        (y,) = engine.run([x])
        assert y.dtype == np.float32
        assert np.array_equal(y, 2 * x + 1)


class Several(nn.Module):
    """Inputs and outputs of many datatypes; the embedding's length varies."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4)

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor, weight: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        pooled = (self.embedding(ids) * mask.unsqueeze(-1)).sum(1) * weight
        return pooled.double(), pooled > 0, pooled.to(torch.bfloat16)


def export_several(path: Path) -> Path:
    rows, length = Dim("rows", max=64), Dim("length", max=16)
    example = (torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 3, dtype=torch.bool), torch.ones(2, 1))
    shapes = ({0: rows, 1: length}, {0: rows, 1: length}, {0: rows})
    return export(Several(), example, path, shapes)


def test_datatypes_bounds_and_shared_sizes_are_described(tmp_path: Path) -> None:
    program = load_program(export_several(tmp_path / "m.pt2"))
    ids, mask, weight = program.signature.inputs
    rows = program.signature.rows
    assert rows is not None
    assert (rows.smallest, rows.largest) == (1, 64)
    length = ids.dims[1]
    assert isinstance(length, Range)
    assert (length.smallest, length.largest) == (1, 16)
    assert (ids, mask) == (TensorSpec("ids", "INT64", (rows, length)), TensorSpec("mask", "BOOL", (rows, length)))
    assert weight == TensorSpec("weight", "FP32", (rows, 1))
    assert [(spec.name, spec.datatype) for spec in program.signature.outputs] == [
        ("output_0", "FP64"),
        ("output_1", "BOOL"),
        ("output_2", "BF16"),
    ]
    outputs = engine_of(program).run(
        [np.ones((3, 5), np.int64), np.ones((3, 5), np.bool_), np.ones((3, 1), np.float32)]
    )
    assert [output.dtype.name for output in outputs] == ["float64", "bool", "uint16"]
    assert [output.shape for output in outputs] == [(3, 4)] * 3


def test_an_index_that_the_model_does_not_have_is_the_models_failure(tmp_path: Path) -> None:
    engine = engine_of(load_program(export_several(tmp_path / "m.pt2")))
    inputs = [np.full((1, 2), 99, np.int64), np.ones((1, 2), np.bool_), np.ones((1, 1), np.float32)]
    with pytest.raises(IndexError):
        engine.run(inputs)


class Halves(nn.Module):
    """Takes an even number of columns."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = x.chunk(2, dim=1)
        return left + right


def test_shapes_that_break_a_guard_are_refused_every_time(tmp_path: Path) -> None:
    half = Dim("half", max=8)
    path = export(Halves(), (torch.ones(2, 4),), tmp_path / "m.pt2", ({0: Dim("rows", max=32), 1: 2 * half},))
    engine = engine_of(load_program(path))
    assert engine.run([np.ones((1, 6), np.float32)])[0].shape == (1, 3)
    for _ in range(2):
        with pytest.raises(InputRefusedError, match="does not take inputs of this shape"):
            engine.run([np.ones((1, 5), np.float32)])


def test_examples_of_the_export_are_repeated_to_any_number_of_rows(tmp_path: Path) -> None:
    path = export(Log(), (torch.tensor([[1.0], [2.0], [3.0]]),), tmp_path / "m.pt2")
    engine = engine_of(load_program(path))
    for rows in (1, 3, 5):
        (x,) = engine.example(rows)
        assert x.ravel().tolist() == [1.0, 2.0, 3.0, 1.0, 2.0][:rows]


def test_a_program_without_examples_is_warmed_up_with_zeros(tmp_path: Path, linear_model: Path) -> None:
    program = load_program(linear_model)
    bare = Program(program.exported, program.signature, program.state, None, program.dtype)
    (x,) = engine_of(bare).example(3)
    assert (x.shape, x.dtype.name) == ((3, 2), "float32")
    assert not x.any()


class FixedRows(nn.Module):
    """Sums over its rows, so requests may not be merged."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(0)


def test_a_model_whose_output_has_no_rows_is_not_merged(tmp_path: Path) -> None:
    program = load_program(export(FixedRows(), (torch.ones(3, 2),), tmp_path / "m.pt2"))
    assert program.signature.rows is None
    assert [spec.name for spec in program.signature.outputs] == ["output"]
    assert engine_of(program).example(1)[0].shape == (3, 2)


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.count = nn.Buffer(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count.add_(1)
        return x + self.count


class InPlace(nn.Module):
    """Changes what it was given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.add_(1)


def test_a_model_that_works_in_place_computes_right_from_the_first_request(tmp_path: Path) -> None:
    engine = engine_of(load_program(export(InPlace(), (torch.ones(2, 2),), tmp_path / "m.pt2")))
    for _ in range(2):
        assert engine.run([np.ones((1, 2), np.float32)])[0].tolist() == [[2, 2]]


class Complex(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectrum: torch.Tensor = torch.fft.fft(x)
        return spectrum


class WithNumber(nn.Module):
    def forward(self, x: torch.Tensor, factor: int) -> torch.Tensor:
        return x * factor


@pytest.mark.parametrize(
    ("model", "example", "shapes", "sentence"),
    [
        (Counter(), (torch.ones(2, 2),), ({0: Dim("rows")},), "changes count when it runs"),
        (Complex(), (torch.ones(2, 2),), ({0: Dim("rows")},), "uses torch.complex64 for output"),
        (WithNumber(), (torch.ones(2, 2), 3), ({0: Dim("rows")}, None), "'factor', which is no tensor"),
    ],
)
def test_programs_that_cannot_be_served_are_refused(
    tmp_path: Path, model: nn.Module, example: tuple[Any, ...], shapes: Any, sentence: str
) -> None:
    path = export(model, example, tmp_path / "m.pt2", shapes)
    with pytest.raises(ArtifactError, match=sentence):
        load_program(path)


@pytest.mark.parametrize(("dtype", "datatype"), [(torch.float16, "FP16"), (torch.bfloat16, "BF16")])
def test_a_model_in_half_precision_takes_and_gives_it(tmp_path: Path, dtype: torch.dtype, datatype: str) -> None:
    path = export(Linear().to(dtype), (torch.ones(2, 2, dtype=dtype),), tmp_path / "m.pt2")
    model = load_model(path, OPTIONS)
    signature = model.engine.signature
    assert [spec.datatype for spec in (*signature.inputs, *signature.outputs)] == [datatype] * 2
    assert model.info.dtype == datatype
    one, three = (bfloat16(value) if datatype == "BF16" else np.full((1, 2), value, np.float16) for value in (1, 3))
    (y,) = model.engine.run([one])
    assert np.array_equal(y, three)


def bfloat16(value: float) -> Array:
    return to_bfloat16(np.full((1, 2), value, np.float32))


def test_bfloat16_is_rounded_to_the_nearest_as_torch_does() -> None:
    values = np.concatenate(
        [np.random.default_rng(3).standard_normal(1000), [0.0, -0.0, 1 + 2**-8, 1 + 3 * 2**-8, 3.38e38, 1e-40]]
    ).astype(np.float32)
    expected = torch.from_numpy(values).to(torch.bfloat16)
    patterns = to_bfloat16(values)
    assert np.array_equal(patterns, expected.view(torch.uint16).numpy())
    assert np.array_equal(from_bfloat16(patterns), expected.float().numpy())


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def rewrite(source: Path, target: Path, change: Callable[[dict[str, bytes]], None], method: int = 0) -> Path:
    """Copy a .pt2 file with its members changed."""
    with zipfile.ZipFile(source) as archive:
        members = {member.filename: archive.read(member) for member in archive.infolist()}
    change(members)
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target


def root_of(members: dict[str, bytes]) -> str:
    return next(iter(members)).partition("/")[0]


def test_an_archive_that_was_only_copied_is_loaded(linear_model: Path, tmp_path: Path) -> None:
    assert load_program(rewrite(linear_model, tmp_path / "m.pt2", lambda _: None)).signature.inputs[0].name == "x"


@pytest.mark.parametrize(
    "name",
    [
        "data/constants/custom_obj_0",
        "data/constants/opaque_obj_0",
        "data/aotinductor/model/model.so",
        "data/weights/model.pt",
        "data/constants/model.pt",
        "models/other.json",
    ],
)
def test_members_that_could_run_code_are_refused_by_name(linear_model: Path, tmp_path: Path, name: str) -> None:
    def add(members: dict[str, bytes]) -> None:
        members[f"{root_of(members)}/{name}"] = b"x"

    path = rewrite(linear_model, tmp_path / "m.pt2", add)
    with pytest.raises(ArtifactError, match=f"holds {name}, which this worker does not load"):
        load_program(path)


def test_pickled_weights_are_refused_before_they_are_read(linear_model: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    def pickle_weights(members: dict[str, bytes]) -> None:
        config = f"{root_of(members)}/data/weights/model_weights_config.json"
        document = json.loads(members[config])
        for entry in document["config"].values():
            entry["use_pickle"] = True
            members[f"{root_of(members)}/data/weights/{entry['path_name']}"] = pickle.dumps(Trap(mark))
        members[config] = json.dumps(document).encode()

    path = rewrite(linear_model, tmp_path / "m.pt2", pickle_weights)
    with pytest.raises(ArtifactError, match="stores scale as a pickle"):
        load_program(path)
    assert not mark.exists()


def test_example_inputs_are_never_unpickled(linear_model: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    samples = tmp_path / "samples.pt"
    torch.save((Trap(mark),), samples)

    def plant(members: dict[str, bytes]) -> None:
        members[f"{root_of(members)}/data/sample_inputs/model.pt"] = samples.read_bytes()

    path = rewrite(linear_model, tmp_path / "m.pt2", plant)
    with pytest.raises(ArtifactError, match="could not be loaded"):
        load_program(path)
    assert not mark.exists()


def test_compressed_members_and_doubles_are_refused(linear_model: Path, tmp_path: Path) -> None:
    packed = rewrite(linear_model, tmp_path / "packed.pt2", lambda _: None, zipfile.ZIP_DEFLATED)
    with pytest.raises(ArtifactError, match="does not load"):
        load_program(packed)

    def double(members: dict[str, bytes]) -> None:
        members[f"{root_of(members)}/Models/model.json"] = b"{}"

    with pytest.raises(ArtifactError, match="holds a file twice"):
        load_program(rewrite(linear_model, tmp_path / "double.pt2", double))


@pytest.mark.parametrize("content", [b"", b"PK", b"not a model" * 100, pickle.dumps({"weights": [1]})])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.pt2"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"is not a \.pt2 file; save the model with torch\.export\.save"):
        load_program(path)


def test_a_checkpoint_of_torch_save_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    torch.save(Linear().state_dict(), path)
    with pytest.raises(ArtifactError, match=r"is not a \.pt2 file"):
        load_program(path)


def test_a_damaged_program_is_refused_with_torchs_version(linear_model: Path, tmp_path: Path) -> None:
    def damage(members: dict[str, bytes]) -> None:
        members[f"{root_of(members)}/models/model.json"] = b"{}"

    with pytest.raises(ArtifactError, match=f"by torch {torch.__version__}".replace("+", r"\+")):
        load_program(rewrite(linear_model, tmp_path / "m.pt2", damage))


def test_an_artifact_is_loaded_by_its_manifest(linear_model: Path, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "artifact", linear_model, run="ab12", attempt="3")
    document = json.loads((artifact / MANIFEST_NAME).read_bytes())
    document["signature"]["inputs"][0]["name"] = "features"
    (artifact / MANIFEST_NAME).write_text(json.dumps(document))
    model = load_model(artifact, OPTIONS)
    assert model.info.version == "ab12-3"
    assert model.info.digest.startswith("sha256:")
    assert model.engine.signature.inputs[0].name == "features"
    assert model.engine.run([np.ones((1, 2), np.float32)])[0].tolist() == [[3, 3]]


def test_a_bare_file_is_loaded_with_the_signature_of_its_program(linear_model: Path) -> None:
    model = load_model(linear_model, OPTIONS)
    assert (model.info.version, model.engine.signature.inputs[0].name) == ("1", "x")


def change_manifest(artifact: Path, **fields: Any) -> None:
    document = json.loads((artifact / MANIFEST_NAME).read_bytes())
    (artifact / MANIFEST_NAME).write_text(json.dumps({**document, **fields}))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda artifact: (artifact / MANIFEST_NAME).unlink(), "has no manifest.json"),
        (lambda artifact: (artifact / MODEL_NAME).unlink(), "model.pt2 is missing although the manifest lists it"),
        (lambda artifact: (artifact / MODEL_NAME).write_bytes(b"x"), "model.pt2 has the digest sha256:"),
        (lambda artifact: change_manifest(artifact, format="gguf"), "has the format 'gguf'"),
        (lambda artifact: change_manifest(artifact, format="onnx"), r"gives no digest for model\.onnx"),
        (lambda artifact: change_manifest(artifact, engine="openvino"), "asks for the engine 'openvino'"),
        (lambda artifact: change_manifest(artifact, dtype=8), "has 8 for dtype; it must be a text or left out"),
        (lambda artifact: change_manifest(artifact, digests={}), "gives no digest for model.pt2"),
        (
            lambda artifact: change_manifest(
                artifact,
                signature={
                    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
                    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
                },
            ),
            r"input x is FP32 \[-1, 3\] and the model has FP32 \[-1, 2\]",
        ),
    ],
)
def test_a_spoiled_artifact_is_refused_with_its_reason(
    linear_model: Path, tmp_path: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    artifact = make_artifact(tmp_path / "artifact", linear_model)
    spoil(artifact)
    with pytest.raises(ArtifactError, match=sentence):
        load_model(artifact, OPTIONS)


class Fails(nn.Module):
    """Fails on its own example: the index is beyond the table once it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(3, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.table(ids + 5)
        return rows


def test_a_model_that_fails_on_its_example_is_never_ready(tmp_path: Path) -> None:
    path = export(Fails(), (torch.zeros(2, dtype=torch.int64),), tmp_path / "m.pt2")
    with pytest.raises(ArtifactError, match="fails on its own example inputs: index out of range"):
        load_model(path, OPTIONS)
