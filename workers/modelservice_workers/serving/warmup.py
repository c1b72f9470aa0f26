"""The first passes of a model: every batch size once, whether rows are their own, how long the largest batch takes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from modelservice_workers.common.datatypes import FLOATS, Array, from_bfloat16
from modelservice_workers.common.errors import ArtifactError, summarize
from modelservice_workers.common.signature import Range, Signature
from modelservice_workers.serving.engine import Engine

# Health checks and other requests wait while the event loop computes; and a thread costs about 0.1 ms to wake.
_INLINE_SECONDS: Final = 0.0005
_TRIES: Final = 5

# int8 models scale activations by the whole batch, which moves their outputs a little.
_ROW_TOLERANCE: Final = 0.05

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Warmth:
    """What the first passes showed: whether requests may be merged, and up to how many rows without a thread."""

    merge: bool
    inline_rows: int


def warm_up(engine: Engine, max_batch_rows: int) -> Warmth:
    """Compute the example at each batch size; raises ArtifactError when that fails.

    Batches may be computed in the event loop when the largest is quick and no other size varies. Requests are
    merged when no row of an answer depends on the other rows of its batch.
    """
    merge = engine.signature.rows is not None and _rows_are_independent(engine)
    if engine.signature.rows is not None and not merge:
        _log.warning("Rows of one batch change each other's outputs in this model: requests are computed one by one.")
    largest = 1
    for rows in _batch_sizes(engine.signature, max_batch_rows):
        largest = rows
        _run_example(engine, rows)
    if not _only_rows_vary(engine.signature):
        return Warmth(merge, 0)
    example = engine.example(largest)
    quick = min(_time_run(engine, example) for _ in range(_TRIES)) < _INLINE_SECONDS
    return Warmth(merge, largest if quick else 0)


def _run_example(engine: Engine, rows: int) -> None:
    try:
        engine.run(engine.example(rows))
    except Exception as error:
        raise ArtifactError(f"The model failed on {rows} of its own example rows: {summarize(error)}") from error


def _rows_are_independent(engine: Engine) -> bool:
    """Whether two different rows give together what they give apart; True where that cannot be found out."""
    signature = engine.signature
    rows = signature.rows
    if rows is None or (rows.largest is not None and rows.largest < 2 * rows.smallest):
        return True
    _run_example(engine, rows.smallest)
    first = engine.example(rows.smallest)
    second = [_vary(array, spec.datatype) for array, spec in zip(first, signature.inputs, strict=True)]
    try:
        apart = [np.concatenate(parts) for parts in zip(engine.run(first), engine.run(second), strict=True)]
        together = engine.run([np.concatenate(parts) for parts in zip(first, second, strict=True)])
    except Exception:  # noqa: BLE001 - the varied row is a guess, and a model may not take it
        return True
    return all(
        _is_close(one, other, spec.datatype)
        for one, other, spec in zip(together, apart, signature.outputs, strict=True)
    )


def _vary(array: Array, datatype: str) -> Array:
    if datatype not in FLOATS or datatype == "BF16":
        return array
    steps = np.linspace(0.25, 1.25, array.size, dtype=np.float64).reshape(array.shape)
    return (array * 0.5 + steps).astype(array.dtype)


def _is_close(one: Array, other: Array, datatype: str) -> bool:
    if datatype not in FLOATS:
        return len(one) == len(other)
    if one.shape != other.shape:
        return False
    if datatype == "BF16":
        one, other = from_bfloat16(one), from_bfloat16(other)
    finite = np.isfinite(one) & np.isfinite(other)
    if not finite.any():
        return True
    one, other = one[finite].astype(np.float64), other[finite].astype(np.float64)
    return bool(np.abs(one - other).max() <= _ROW_TOLERANCE * np.abs(other).max() + 1e-6)


def _time_run(engine: Engine, example: Sequence[Array]) -> float:
    started = time.perf_counter()
    engine.run(example)
    return time.perf_counter() - started


def _only_rows_vary(signature: Signature) -> bool:
    """Whether the largest batch is the most work that a batch can be; texts have a length beside their shape."""
    first = 0 if signature.rows is None else 1
    return not any(
        spec.datatype == "BYTES" or any(isinstance(dim, Range) for dim in spec.dims[first:])
        for spec in signature.inputs
    )


def _batch_sizes(signature: Signature, max_batch_rows: int) -> Iterator[int]:
    rows = signature.rows
    if rows is None:
        yield 1
        return
    largest = max_batch_rows if rows.largest is None else min(max_batch_rows, rows.largest)
    size = 1
    while size < largest:
        if size >= rows.smallest:
            yield size
        size *= 2
    yield max(largest, rows.smallest)
