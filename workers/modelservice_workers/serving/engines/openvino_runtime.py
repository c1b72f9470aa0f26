"""Computes OpenVINO and ONNX models on the CPU with OpenVINO."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import openvino as ov

from modelservice_workers.common.datatypes import Array
from modelservice_workers.common.errors import ArtifactError, summarize
from modelservice_workers.common.signature import Range, Signature, TensorSpec
from modelservice_workers.serving.engine import make_zeros
from modelservice_workers.serving.engines.source import LoadedEngine, LoadOptions, Source

PLATFORM: Final = "openvino_cpu"

_DATATYPES: Final = {
    "boolean": "BOOL",
    "i8": "INT8",
    "i16": "INT16",
    "i32": "INT32",
    "i64": "INT64",
    "u8": "UINT8",
    "u16": "UINT16",
    "u32": "UINT32",
    "u64": "UINT64",
    "f16": "FP16",
    "f32": "FP32",
    "f64": "FP64",
}

_ROWS: Final = "rows"


def load(source: Source, options: LoadOptions) -> LoadedEngine:
    """Load an .xml file with its .bin, or an .onnx file; raises ArtifactError."""
    core = ov.Core()
    try:
        model = core.read_model(source.path)
        signature = Signature(
            tuple(_tensor_spec(port, source, f"input_{at}") for at, port in enumerate(model.inputs)),
            tuple(_tensor_spec(port, source, f"output_{at}") for at, port in enumerate(model.outputs)),
        )
        configuration = _configure(source, options)
        engine = OpenVinoEngine(lambda: core.compile_model(model, "CPU", configuration), source.name_tensors(signature))
    except RuntimeError as error:
        raise ArtifactError(
            f"{source.path} could not be loaded by OpenVINO {ov.__version__}: {summarize(error)}"
        ) from None
    return LoadedEngine(engine, ov.__version__, PLATFORM, source.dtype or _main_dtype(model))


def _configure(source: Source, options: LoadOptions) -> dict[str, Any]:
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": options.threads,
        # Without it a CPU with bf16 computes a model of fp32 in bf16, which nobody asked for.
        "INFERENCE_PRECISION_HINT": "bf16" if source.dtype == "BF16" else "f32",
    }


def _tensor_spec(port: Any, source: Source, fallback: str) -> TensorSpec:
    name = port.any_name if port.names else fallback
    datatype = _DATATYPES.get(port.element_type.get_type_name())
    if datatype is None:
        kind = port.element_type.get_type_name()
        raise ArtifactError(f"{source.path} takes or gives {name} as {kind}, which is not served.")
    if port.partial_shape.rank.is_dynamic:
        raise ArtifactError(f"{source.path} does not say how many dimensions {name} has; convert it with its shapes.")
    return TensorSpec(
        name, datatype, tuple(_dimension(size, name, axis) for axis, size in enumerate(port.partial_shape))
    )


def _dimension(size: Any, name: str, axis: int) -> int | Range:
    if size.is_static:
        return int(size.get_length())
    # The format does not say which sizes are equal; that the first one counts rows is tried out before it is used.
    largest = size.get_max_length()
    return Range(f"{name}.{axis}" if axis else _ROWS, max(1, size.get_min_length()), largest if largest > 0 else None)


def _main_dtype(model: Any) -> str:
    sizes: dict[str, int] = {}
    for node in model.get_ops():
        if node.get_type_name() == "Constant":
            kind = node.get_element_type().get_type_name()
            sizes[kind] = sizes.get(kind, 0) + math.prod(node.get_output_shape(0))
    kind = max(sizes, key=lambda each: sizes[each], default="none")
    return _DATATYPES.get(kind, kind.upper())


class OpenVinoEngine:
    """A compiled model with one request of its own."""

    def __init__(self, compile_model: Callable[[], ov.CompiledModel], signature: Signature) -> None:
        """`signature` is the model's, perhaps with other names."""
        self._compile = compile_model
        self._request = compile_model().create_infer_request()
        self._signature = signature

    @property
    def signature(self) -> Signature:
        """Inputs and outputs in the order of the model."""
        return self._signature

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """As in Engine."""
        try:
            return self._pass(inputs)
        except RuntimeError:
            self._recover(inputs)
            raise

    def _pass(self, inputs: Sequence[Array]) -> list[Array]:
        # With one thread `infer` hides a failure and gives the results of the pass before, which are somebody else's.
        self._request.start_async(dict(enumerate(inputs)), share_inputs=False)
        self._request.wait()
        return [self._request.get_output_tensor(at).data.copy() for at in range(len(self._signature.outputs))]

    def _recover(self, failed: Sequence[Array]) -> None:
        """Make the graph forget a failure.

        It would refuse good inputs, or give results of an earlier pass, until one of the shape that failed has passed.
        """
        try:
            self._pass([np.zeros_like(array) for array in failed])
        except RuntimeError:
            self._request = self._compile().create_infer_request()

    def example(self, rows: int) -> list[Array]:
        """Zeros."""
        return make_zeros(self._signature, rows)
