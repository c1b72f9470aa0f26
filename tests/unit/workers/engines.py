"""Models in numpy for tests that are about the server and not about torch."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from modelservice_workers.common.datatypes import Array
from modelservice_workers.common.signature import Range, Signature, TensorSpec
from modelservice_workers.serving.engine import InputRefusedError, ModelInfo
from modelservice_workers.serving.engines.source import LoadOptions

ROWS = Range("rows", 1, 1000)
OPTIONS = LoadOptions(threads=1, max_batch_rows=4, features=frozenset({"avx2", "avx512_bf16"}))
INFO = ModelInfo(version="1", engine="numpy", engine_version="2", platform="test", dtype="FP32", digest="sha256:0")
DEADLINE_SECONDS = 10.0


class LogEngine:
    """y = log(x) for x FP32 [-1, 1]; remembers the rows of each call.

    Raises when a row holds 13 and always while `broken`, refuses 14, and computes only while `gate` is set.
    """

    signature = Signature((TensorSpec("x", "FP32", (ROWS, 1)),), (TensorSpec("y", "FP32", (ROWS, 1)),))

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.calls: list[int] = []
        self.threads: list[str] = []
        self.broken = False

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        self.entered.set()
        assert self.gate.wait(DEADLINE_SECONDS), "the test never opened the gate"
        x = inputs[0]
        self.calls.append(len(x))
        self.threads.append(threading.current_thread().name)
        if self.broken:
            raise RuntimeError("\nnothing is computed")
        if (x == 13).any():
            raise RuntimeError("thirteen is not computed\nand this line is for the log")
        if (x == 14).any():
            raise InputRefusedError("Fourteen is refused.")
        with np.errstate(divide="ignore", invalid="ignore"):
            return [np.log(x)]

    def example(self, rows: int) -> list[Array]:
        return [np.ones((rows, 1), np.float32)]


class SumEngine:
    """total = sum of x INT64 [2, -1]; its rows are fixed, so requests are never merged."""

    signature = Signature((TensorSpec("x", "INT64", (2, Range("n"))),), (TensorSpec("total", "INT64", ()),))

    def __init__(self) -> None:
        self.calls = 0

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        self.calls += 1
        return [np.asarray(inputs[0].sum())]

    def example(self, rows: int) -> list[Array]:
        del rows
        return [np.ones((2, 3), np.int64)]
