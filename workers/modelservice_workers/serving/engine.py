"""The interface between the server and whatever computes a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from modelservice_workers.common.datatypes import Array
from modelservice_workers.common.signature import Signature


class InputRefusedError(Exception):
    """The model does not take these inputs, whatever the server does; the text says why."""


class Engine(Protocol):
    """A loaded model; only one call runs at a time."""

    @property
    def signature(self) -> Signature:
        """What the model takes and gives."""

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Compute outputs in the order of the signature from inputs in that order.

        Raises InputRefusedError when the inputs are at fault, anything else when the model is.
        """

    def example(self, rows: int) -> list[Array]:
        """Valid inputs with `rows` rows, where the signature lets the rows vary."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Facts about a loaded model for metadata and the build_info metric."""

    version: str
    engine: str
    engine_version: str
    platform: str
    dtype: str
    digest: str


def stack_rows(requests: Sequence[Sequence[Array]]) -> list[Array]:
    """Join the inputs of several requests along the first dimension."""
    return [np.concatenate(parts) for parts in zip(*requests, strict=True)]
