"""The interface between the server and whatever computes a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from modelservice_workers.common.datatypes import NUMPY_DTYPES, Array
from modelservice_workers.common.signature import Range, Signature


class InputRefusedError(Exception):
    """The model does not take these inputs, whatever the server does; the text says why."""


class Engine(Protocol):
    """A loaded model; only one call runs at a time."""

    @property
    def signature(self) -> Signature:
        """What the model takes and gives."""

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Compute outputs in the order of the signature from inputs in that order.

        Raises InputRefusedError when the model says that it does not take such inputs, anything else when it fails.
        """

    def example(self, rows: int) -> list[Array]:
        """Valid inputs with `rows` rows, where the signature lets the rows vary."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Facts about a loaded model for metadata and the build_info metric.

    `task` is "embedding" for a model of one BYTES input whose outputs are the embedding and the number of tokens.
    """

    version: str
    engine: str
    engine_version: str
    platform: str
    dtype: str
    digest: str
    task: str = ""


def stack_rows(requests: Sequence[Sequence[Array]]) -> list[Array]:
    """Join the inputs of several requests along the first dimension."""
    return [np.concatenate(parts) for parts in zip(*requests, strict=True)]


def make_zeros(signature: Signature, rows: int) -> list[Array]:
    """Inputs of zeros, or empty texts, with `rows` rows where they vary and every other size at its smallest."""
    arrays = []
    for spec in signature.inputs:
        sizes = [dim.smallest if isinstance(dim, Range) else dim for dim in spec.dims]
        if signature.rows is not None:
            sizes[0] = rows
        dtype = NUMPY_DTYPES[spec.datatype]
        arrays.append(np.full(sizes, b"" if dtype.kind == "O" else 0, dtype))
    return arrays
