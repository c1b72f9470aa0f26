"""Greedy batching and the isolation of requests within a batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest
from modelservice_workers.common.datatypes import Array
from modelservice_workers.common.signature import Range, Signature, TensorSpec
from modelservice_workers.serving.batcher import EXPIRED, Batcher, BatchLimits, QueueFullError, Ticket, Timings
from modelservice_workers.serving.execution import Failure, Outcome, run_batch
from modelservice_workers.serving.modelthread import ModelThread

from tests.unit.workers.engines import DEADLINE_SECONDS, LogEngine, SumEngine

LIMITS = BatchLimits(rows=8, queue_requests=4, queue_bytes=1024)


class Asked:
    """A request in a batcher, whose answer can be awaited."""

    def __init__(self, batcher: Batcher, inputs: list[Array], timeout_seconds: float, *, exact: bool = False) -> None:
        self.answer: asyncio.Future[tuple[Outcome, Timings]] = asyncio.get_running_loop().create_future()
        self.ticket: Ticket = batcher.submit(inputs, self.deliver, timeout_seconds, exact=exact)

    def deliver(self, outcome: Outcome, timings: Timings) -> None:
        self.answer.set_result((outcome, timings))  # raises when it is told twice


def ask(
    batcher: Batcher, inputs: list[Array], timeout_seconds: float = DEADLINE_SECONDS
) -> asyncio.Future[tuple[Outcome, Timings]]:
    return Asked(batcher, inputs, timeout_seconds).answer


def row(*values: float) -> list[Array]:
    return [np.array(values, np.float32).reshape(-1, 1)]


@pytest.fixture
async def thread() -> AsyncIterator[ModelThread]:
    thread = ModelThread(asyncio.get_running_loop())
    yield thread
    assert thread.stop(DEADLINE_SECONDS)


class Rig:
    """A batcher whose first batch holds the model thread until the gate opens."""

    def __init__(self, thread: ModelThread, limits: BatchLimits = LIMITS) -> None:
        self.engine = LogEngine()
        self.batches: list[tuple[int, int]] = []
        self.batcher = Batcher(
            self.engine, thread, limits, lambda requests, rows: self.batches.append((requests, rows))
        )

    async def occupy(self) -> Asked:
        self.engine.gate.clear()
        asked = Asked(self.batcher, row(1), DEADLINE_SECONDS)
        await asyncio.to_thread(self.engine.entered.wait, DEADLINE_SECONDS)
        return asked


async def test_a_lone_request_is_computed_at_once(thread: ModelThread) -> None:
    rig = Rig(thread)
    outcome, timings = await ask(rig.batcher, row(1))
    assert not isinstance(outcome, Failure)
    assert outcome[0].tolist() == [[0]]
    assert timings.queue_seconds >= 0
    assert rig.batches == [(1, 1)]


async def test_requests_of_one_turn_share_a_batch(thread: ModelThread) -> None:
    rig = Rig(thread)
    answers = [ask(rig.batcher, row(value)) for value in (1, 2, 4)]
    results = [(await answer)[0] for answer in answers]
    assert rig.engine.calls == [3]
    for result, value in zip(results, (1, 2, 4), strict=True):
        assert not isinstance(result, Failure)
        assert result[0].item() == pytest.approx(np.log(value))


async def test_what_waits_while_the_model_runs_becomes_the_next_batch(thread: ModelThread) -> None:
    rig = Rig(thread)
    first = await rig.occupy()
    later = [ask(rig.batcher, row(value)) for value in (1, 2, 3)]
    assert (rig.batcher.running, rig.batcher.waiting) == (1, 3)
    rig.engine.gate.set()
    await asyncio.gather(first.answer, *later)
    assert rig.engine.calls == [1, 3]
    assert (rig.batcher.running, rig.batcher.waiting) == (0, 0)


async def test_a_batch_holds_no_more_rows_than_allowed_and_keeps_the_order(thread: ModelThread) -> None:
    rig = Rig(thread)
    first = await rig.occupy()
    later = [ask(rig.batcher, row(*[1] * rows)) for rows in (5, 3, 1)]
    rig.engine.gate.set()
    await asyncio.gather(first.answer, *later)
    assert rig.engine.calls == [1, 8, 1]
    assert rig.batches == [(1, 1), (2, 8), (1, 1)]


async def test_a_request_larger_than_a_batch_is_computed_alone(thread: ModelThread) -> None:
    rig = Rig(thread)
    first = await rig.occupy()
    later = [ask(rig.batcher, row(*[1] * rows)) for rows in (1, 20, 1)]
    rig.engine.gate.set()
    await asyncio.gather(first.answer, *later)
    assert rig.engine.calls == [1, 2, 20]


async def test_a_full_queue_refuses(thread: ModelThread) -> None:
    rig = Rig(thread)
    first = await rig.occupy()
    waiting = [ask(rig.batcher, row(1)) for _ in range(4)]
    with pytest.raises(QueueFullError):
        ask(rig.batcher, row(1))
    rig.engine.gate.set()
    await asyncio.gather(first.answer, *waiting)
    await ask(rig.batcher, row(1))


async def test_the_queue_is_bounded_in_bytes_too(thread: ModelThread) -> None:
    rig = Rig(thread, BatchLimits(rows=1000, queue_requests=100, queue_bytes=400))
    first = await rig.occupy()
    waiting = Asked(rig.batcher, row(*[1] * 100), DEADLINE_SECONDS)
    with pytest.raises(QueueFullError):
        ask(rig.batcher, row(1))
    rig.batcher.cancel(waiting.ticket)
    again = ask(rig.batcher, row(*[1] * 100))
    rig.engine.gate.set()
    await asyncio.gather(first.answer, again)


async def test_a_cancelled_request_is_not_computed(thread: ModelThread) -> None:
    rig = Rig(thread)
    first = await rig.occupy()
    gone, kept = (Asked(rig.batcher, row(1), DEADLINE_SECONDS) for _ in range(2))
    rig.batcher.cancel(gone.ticket)
    assert rig.batcher.waiting == 1
    rig.engine.gate.set()
    await asyncio.gather(first.answer, kept.answer)
    assert not gone.answer.done()
    assert rig.engine.calls == [1, 1]


async def test_a_request_cancelled_while_it_is_computed_harms_nobody(thread: ModelThread) -> None:
    rig = Rig(thread)
    first = await rig.occupy()
    rig.batcher.cancel(first.ticket)
    kept = ask(rig.batcher, row(1))
    rig.engine.gate.set()
    await kept
    assert not first.answer.done()
    assert rig.engine.calls == [1, 1]


async def test_clients_that_come_and_go_leave_nothing_in_the_queue(thread: ModelThread) -> None:
    rig = Rig(thread)
    first = await rig.occupy()
    kept = ask(rig.batcher, row(2))
    for _ in range(1000):
        rig.batcher.cancel(Asked(rig.batcher, row(1), DEADLINE_SECONDS).ticket)
    assert rig.batcher.waiting == 1
    assert len(rig.batcher._queue.tickets) < 100
    rig.engine.gate.set()
    await asyncio.gather(first.answer, kept)
    assert rig.engine.calls == [1, 1]


async def test_a_request_whose_time_is_over_is_answered_and_not_computed(thread: ModelThread) -> None:
    rig = Rig(thread)
    first = await rig.occupy()
    late = Asked(rig.batcher, row(1), 0.02, exact=True)
    swept, kept = (Asked(rig.batcher, row(1), seconds) for seconds in (0, DEADLINE_SECONDS))
    outcome, timings = await late.answer
    assert outcome is EXPIRED
    assert timings.queue_seconds >= 0.02
    rig.batcher.sweep()
    assert (await swept.answer)[0] is EXPIRED
    rig.engine.gate.set()
    await asyncio.gather(first.answer, kept.answer)
    assert rig.engine.calls == [1, 1]


async def test_a_request_whose_time_is_over_when_its_batch_is_taken_is_answered(thread: ModelThread) -> None:
    rig = Rig(thread)
    first = await rig.occupy()
    late, kept = ask(rig.batcher, row(1), 0), ask(rig.batcher, row(1))
    rig.engine.gate.set()
    assert (await late)[0] is EXPIRED
    await asyncio.gather(first.answer, kept)
    assert rig.engine.calls == [1, 1]


async def test_a_request_that_is_computed_beyond_its_time_is_answered_then(thread: ModelThread) -> None:
    rig = Rig(thread)
    rig.engine.gate.clear()
    outcome, _ = await Asked(rig.batcher, row(1), 0.02, exact=True).answer
    assert outcome is EXPIRED
    rig.engine.gate.set()
    assert (await ask(rig.batcher, row(1)))[0] is not EXPIRED


async def test_small_batches_are_computed_in_the_event_loop_and_large_ones_are_not(thread: ModelThread) -> None:
    rig = Rig(thread, BatchLimits(rows=8, queue_requests=100, queue_bytes=4096, inline_rows=4))
    answers = [ask(rig.batcher, row(*[1] * rows)) for rows in (1, 3)]
    await asyncio.gather(*answers)
    answers = [ask(rig.batcher, row(*[1] * rows)) for rows in (8, 2)]
    await asyncio.gather(*answers)
    assert rig.engine.calls == [4, 8, 2]
    assert rig.engine.threads == ["MainThread", "model", "MainThread"]
    assert thread.busy_seconds > 0


async def test_requests_of_a_model_with_fixed_rows_are_computed_one_by_one(thread: ModelThread) -> None:
    engine = SumEngine()
    batcher = Batcher(engine, thread, LIMITS, lambda _requests, _rows: None)
    answers = [ask(batcher, [np.full((2, n), n, np.int64)]) for n in (1, 2, 3)]
    outcomes = [(await answer)[0] for answer in answers]
    assert [outcome[0].item() for outcome in outcomes if not isinstance(outcome, Failure)] == [2, 8, 18]
    assert engine.calls == 3


class LengthEngine(LogEngine):
    """Sums rows whose length may differ from request to request."""

    signature = Signature(
        (TensorSpec("x", "FP32", (Range("rows"), Range("length"))),), (TensorSpec("y", "FP32", (Range("rows"),)),)
    )

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        self.calls.append(len(inputs[0]))
        return [inputs[0].sum(axis=1)]


async def test_requests_of_equal_inner_shapes_are_merged_past_others_and_nobody_starves(thread: ModelThread) -> None:
    engine = LengthEngine()
    batcher = Batcher(engine, thread, LIMITS, lambda _requests, _rows: None)
    answers = [ask(batcher, [np.ones((1, length), np.float32)]) for length in (3, 3, 5, 3)]
    outcomes = [(await answer)[0] for answer in answers]
    assert [outcome[0].item() for outcome in outcomes if not isinstance(outcome, Failure)] == [3, 3, 5, 3]
    assert engine.calls == [3, 1]


def test_a_request_on_which_the_model_fails_does_not_spoil_its_neighbours() -> None:
    engine = LogEngine()
    first, bad, refused, last = run_batch(engine, [row(1), row(13), row(14), row(1, 1)]).outcomes
    assert engine.calls == [5, 1, 1, 1, 1, 2], "all, each alone, and after the bad one the example"
    assert isinstance(first, list)
    assert isinstance(last, list)
    assert last[0].shape == (2, 1)
    assert bad == Failure(422, "The model cannot compute this input: thirteen is not computed")
    assert refused == Failure(400, "Fourteen is refused.")


class ReducingEngine(LogEngine):
    """Breaks its promise: gives one row whatever it takes."""

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        self.calls.append(len(inputs[0]))
        return [inputs[0].sum(axis=0, keepdims=True)]


def test_a_model_that_mixes_rows_gets_its_requests_one_by_one() -> None:
    outcomes = run_batch(ReducingEngine(), [row(1), row(2)]).outcomes
    assert [outcome[0].item() for outcome in outcomes if isinstance(outcome, list)] == [1, 2]
    (alone,) = run_batch(ReducingEngine(), [row(1, 2)]).outcomes
    assert alone == Failure(422, "The model cannot compute this input: 2 rows were given and [1] came back.")


async def test_errors_of_a_call_in_the_model_thread_reach_the_caller(thread: ModelThread) -> None:
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 // 0)
    assert await thread.run(lambda: 5) == 5
    assert thread.busy_seconds > 0
