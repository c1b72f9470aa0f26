"""Computing a batch: merge requests, run the model, give each request its own outcome."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from modelservice_workers.common.datatypes import Array
from modelservice_workers.common.errors import summarize
from modelservice_workers.serving.engine import Engine, InputRefusedError, stack_rows

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request has no answer; `status` is the HTTP status that says whose fault it is."""

    status: int
    message: str


Outcome: TypeAlias = list[Array] | Failure


@dataclass(frozen=True, slots=True)
class BatchResult:
    """One outcome per request in their order, and the seconds the model took."""

    outcomes: list[Outcome]
    predict_seconds: float


class RowsError(Exception):
    """A model gave another number of rows than its signature promises."""


def run_batch(engine: Engine, requests: Sequence[Sequence[Array]]) -> BatchResult:
    """Compute several requests at once; when that fails, one by one, so that only the bad ones fail.

    Several requests may only be given when the signature's rows vary and all other sizes agree.
    """
    started = time.perf_counter()
    outcomes = [_run_single(engine, requests[0])] if len(requests) == 1 else _run_merged(engine, requests)
    return BatchResult(outcomes, time.perf_counter() - started)


def _run_merged(engine: Engine, requests: Sequence[Sequence[Array]]) -> list[Outcome]:
    rows = [len(inputs[0]) for inputs in requests]
    try:
        outputs = engine.run(stack_rows(requests))
    except Exception as error:  # noqa: BLE001 - a model may raise anything, and its neighbours must live
        _log.info("A batch of %d requests failed and is computed one by one: %s", len(requests), error)
        return [_run_single(engine, inputs) for inputs in requests]
    if any(len(output) != sum(rows) for output in outputs):
        return [_run_single(engine, inputs) for inputs in requests]
    outcomes: list[Outcome] = []
    start = 0
    for count in rows:
        outcomes.append([output[start : start + count] for output in outputs])
        start += count
    return outcomes


def _run_single(engine: Engine, inputs: Sequence[Array]) -> Outcome:
    try:
        outputs = engine.run(inputs)
        if engine.signature.rows is not None and any(len(output) != len(inputs[0]) for output in outputs):
            raise RowsError(f"{len(inputs[0])} rows were given and {[len(output) for output in outputs]} came back.")
        return outputs
    except InputRefusedError as error:
        return Failure(400, str(error))
    except Exception as error:  # noqa: BLE001 - a model may raise anything, and the server must live
        return _blame(engine, error)


def _blame(engine: Engine, error: Exception) -> Failure:
    """The input is at fault when the model still computes its own example, as it did before it was served."""
    rows = engine.signature.rows
    try:
        engine.run(engine.example(1 if rows is None else rows.smallest))
    except Exception:  # noqa: BLE001 - the first error is the one to tell
        _log.warning("The model fails, on its own example too.", exc_info=error)
        return Failure(500, f"The model of this server fails, on its own example too: {summarize(error)}")
    _log.info("The model cannot compute the input of a request: %s", summarize(error))
    return Failure(422, f"The model cannot compute this input: {summarize(error)}")
