"""The first passes of a model: every batch size once, and how long the largest takes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

from modelservice_workers.common.datatypes import Array
from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.common.signature import Range, Signature
from modelservice_workers.serving.engine import Engine

# Health checks and other requests wait while the event loop computes; and a thread costs about 0.1 ms to wake.
_INLINE_SECONDS: Final = 0.0005
_TRIES: Final = 5


def warm_up(engine: Engine, max_batch_rows: int) -> int:
    """Compute the example at each batch size; raises ArtifactError when that fails.

    Returns the rows up to which batches may be computed in the event loop: all, when the largest is quick and
    no other size varies, else none.
    """
    largest = 1
    for rows in _batch_sizes(engine.signature, max_batch_rows):
        largest = rows
        try:
            engine.run(engine.example(rows))
        except Exception as error:
            lines = str(error).strip().splitlines()
            raise ArtifactError(
                f"The model failed on {rows} of its own example rows: {lines[0] if lines else type(error).__name__}"
            ) from error
    if not _only_rows_vary(engine.signature):
        return 0
    example = engine.example(largest)
    return largest if min(_time_run(engine, example) for _ in range(_TRIES)) < _INLINE_SECONDS else 0


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
