"""Small ONNX and OpenVINO models, written for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino as ov
from modelservice_workers.common.artifacts import MANIFEST_NAME, Manifest, file_digest
from modelservice_workers.common.signature import Signature
from onnx import TensorProto, helper, numpy_helper

WEIGHTS = np.random.default_rng(7).standard_normal((8, 4)).astype(np.float32)


def write_onnx(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: list[Any]) -> Path:
    graph = helper.make_graph(nodes, "test", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save_model(model, path)
    return path


def tensor(name: str, kind: int = TensorProto.FLOAT, shape: tuple[Any, ...] = ("rows", 8)) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def write_matmul(path: Path) -> Path:
    """y = x @ WEIGHTS for x FP32 [-1, 8]."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    constants = [numpy_helper.from_array(WEIGHTS, "w")]
    return write_onnx(path, [node], [tensor("x")], [tensor("y", shape=("rows", 4))], constants)


def quantize(weights: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.float32]:
    scale = np.float32(np.abs(weights).max() / 127)
    return np.round(weights / scale).astype(np.int8), scale


def write_int8_matmul(path: Path) -> Path:
    """The same with weights stored as INT8."""
    weights, scale = quantize(WEIGHTS)
    nodes = [
        helper.make_node("DequantizeLinear", ["w8", "scale"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    constants = [numpy_helper.from_array(weights, "w8"), numpy_helper.from_array(np.array(scale), "scale")]
    return write_onnx(path, nodes, [tensor("x")], [tensor("y", shape=("rows", 4))], constants)


def write_text_echo(path: Path) -> Path:
    """echo = text for BYTES [-1]."""
    node = helper.make_node("Identity", ["text"], ["echo"])
    shape = ("rows",)
    return write_onnx(
        path, [node], [tensor("text", TensorProto.STRING, shape)], [tensor("echo", TensorProto.STRING, shape)], []
    )


def write_row_mixer(path: Path) -> Path:
    """y = x minus the mean of all rows: what a request gets depends on its neighbours."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    return write_onnx(path, nodes, [tensor("x")], [tensor("y")], [])


def write_lookup(path: Path) -> Path:
    """y = 0.0, 1.0, ... 4.0 by the numbers x INT64 [-1]; no others are taken."""
    node = helper.make_node("GatherElements", ["table", "x"], ["y"])
    table = numpy_helper.from_array(np.arange(5, dtype=np.float32), "table")
    rows = ("rows",)
    return write_onnx(path, [node], [tensor("x", TensorProto.INT64, rows)], [tensor("y", shape=rows)], [table])


def write_external(path: Path, location: str) -> Path:
    """A model whose weights are in another file."""
    write_matmul(path)
    model = onnx.load_model(path)
    weights = model.graph.initializer[0]
    weights.data_location = TensorProto.EXTERNAL
    weights.ClearField("raw_data")
    entry = weights.external_data.add()
    entry.key, entry.value = "location", location
    path.write_bytes(model.SerializeToString())
    return path


def write_openvino(directory: Path, source: Path) -> Path:
    """model.xml and model.bin from an ONNX file."""
    directory.mkdir(exist_ok=True)
    ov.save_model(ov.Core().read_model(source), directory / "model.xml", compress_to_fp16=False)
    return directory / "model.xml"


def write_manifest(directory: Path, name: str, signature: Signature, **chosen: str) -> Path:
    """Make a directory an artifact of format `name`."""
    digests = {path.name: file_digest(path) for path in sorted(directory.iterdir()) if path.name != MANIFEST_NAME}
    manifest = Manifest(name, signature, digests, {}, chosen.get("engine"), chosen.get("dtype"))
    (directory / MANIFEST_NAME).write_bytes(manifest.to_bytes())
    return directory
