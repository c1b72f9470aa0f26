"""Computes ONNX models on the CPU with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from modelservice_workers.common.datatypes import NUMPY_DTYPES, Array
from modelservice_workers.common.errors import ArtifactError, summarize
from modelservice_workers.common.signature import Range, Signature, TensorSpec
from modelservice_workers.serving.engine import InputRefusedError, make_zeros
from modelservice_workers.serving.engines.source import LoadedEngine, LoadOptions, Source

PLATFORM: Final = "onnxruntime_onnx"

_DATATYPES: Final = {
    "tensor(bool)": "BOOL",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}

# What goes wrong is raised; a log of it too would be one that clients can fill.
_FATAL_ONLY: Final = 4


def load(source: Source, options: LoadOptions) -> LoadedEngine:
    """Load a .onnx file, and the data files beside it that it names; raises ArtifactError."""
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = _FATAL_ONLY
    # Threads that spin between requests would eat the CPU limit of the pod.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(str(source.path), settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - the library's own kinds are not listed anywhere
        raise ArtifactError(
            f"{source.path} could not be loaded by ONNX Runtime {ort.__version__}: {summarize(error)}"
        ) from None
    signature = Signature(
        tuple(_tensor_spec(argument, source) for argument in session.get_inputs()),
        tuple(_tensor_spec(argument, source) for argument in session.get_outputs()),
    )
    engine = OnnxEngine(session, source.name_tensors(signature))
    floats = [spec.datatype for spec in (*signature.inputs, *signature.outputs) if spec.datatype.startswith("FP")]
    return LoadedEngine(engine, ort.__version__, PLATFORM, source.dtype or (floats or ["none"])[0])


def _tensor_spec(argument: Any, source: Source) -> TensorSpec:
    datatype = _DATATYPES.get(argument.type)
    if datatype is None:
        raise ArtifactError(f"{source.path} takes or gives {argument.name} as {argument.type}, which is not served.")
    dims = tuple(
        size if isinstance(size, int) else Range(size or f"{argument.name}.{axis}")
        for axis, size in enumerate(argument.shape)
    )
    return TensorSpec(argument.name, datatype, dims)


class OnnxEngine:
    """A session of ONNX Runtime."""

    def __init__(self, session: ort.InferenceSession, signature: Signature) -> None:
        """`signature` is the session's, perhaps with other names."""
        self._session = session
        self._signature = signature
        self._inputs = [argument.name for argument in session.get_inputs()]
        self._outputs = [argument.name for argument in session.get_outputs()]

    @property
    def signature(self) -> Signature:
        """Inputs and outputs in the order of the model."""
        return self._signature

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """As in Engine."""
        feed = {name: _to_feed(array) for name, array in zip(self._inputs, inputs, strict=True)}
        try:
            outputs = self._session.run(self._outputs, feed)
        except InvalidArgument as error:
            raise InputRefusedError(f"The model does not take these inputs: {summarize(error)}") from error
        return [_from_result(output) for output in outputs]

    def example(self, rows: int) -> list[Array]:
        """Zeros, or empty texts."""
        return make_zeros(self._signature, rows)


def _to_feed(array: Array) -> Array:
    if array.dtype.kind != "O":
        return array if array.flags.aligned else array.copy()
    try:
        return np.array([value.decode() for value in array.flat], np.object_).reshape(array.shape)
    except UnicodeDecodeError:
        raise InputRefusedError("A text of the request is no UTF-8.") from None


def _from_result(output: Any) -> Array:
    array = np.asarray(output)
    if array.dtype.kind not in "OU":
        return array
    texts = np.empty(array.size, NUMPY_DTYPES["BYTES"])
    texts[:] = [value.encode() for value in array.flat]
    return texts.reshape(array.shape)
