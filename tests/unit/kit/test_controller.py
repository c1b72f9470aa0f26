import asyncio
import logging
from random import Random

import pytest
from modelservice.kit.controller import Result, Workers
from modelservice.kit.errors import (
    Conflict,
    Forbidden,
    NotFound,
    Retryable,
    Terminal,
    TooManyRequests,
    Unavailable,
)
from modelservice.kit.objects import Key
from modelservice.kit.ratelimit import Backoff
from modelservice.kit.workqueue import WorkQueue

from tests.unit.kit.meters import Tally

pytestmark = pytest.mark.looptime(start=0)

KEY = Key("Thing", "ns", "a")
NEVER = (float("inf"), float("inf"))


async def next_look(answer: Result | Exception | None) -> tuple[str, float, Tally, WorkQueue[Key]]:
    """What a reconciliation with that end is counted as, and the seconds until the key is looked at again."""
    meter = Tally()
    queue: WorkQueue[Key] = WorkQueue(backoff=Backoff(first=8, jitter=0), random=Random(0))

    async def reconcile(key: Key) -> Result | None:
        assert key == KEY
        if isinstance(answer, Exception):
            raise answer
        return answer

    workers = Workers(queue, {"Thing": reconcile}, meter=meter, random=Random(0))
    outcome = await workers.handle(KEY)
    try:
        await asyncio.wait_for(queue.get(), 10_000)
        return outcome, asyncio.get_running_loop().time(), meter, queue
    except TimeoutError:
        return outcome, float("inf"), meter, queue


@pytest.mark.parametrize(
    ("answer", "outcome", "window"),
    [
        (None, "success", NEVER),
        (Result(), "success", NEVER),
        (Result(requeue_after=60), "requeue_after", (54, 66)),
        (Retryable("the claim is not there yet", after=30), "retryable", (27, 33)),
        (Terminal("BadSpec", "no such runtime"), "terminal", NEVER),
        (Conflict("stale", status=409), "conflict", (0.1, 0.3)),
        (TooManyRequests("slow down", retry_after=40), "throttled", (40, 48)),
        (NotFound("gone", status=404), "api_error", (8, 8)),
        (Forbidden("no", status=403), "api_error", (8, 8)),
        (Unavailable("refused"), "api_error", (8, 8)),
        (KeyError("spec"), "bug", (8, 8)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
async def test_each_end_of_a_reconciliation_has_its_next_look(
    answer: Result | Exception | None, outcome: str, window: tuple[float, float]
) -> None:
    counted, seconds, meter, _ = await next_look(answer)
    assert counted == outcome
    assert window[0] <= seconds <= window[1]
    assert meter.counts["reconcile_total", ("controller", "Thing"), ("result", outcome)] == 1


async def test_a_conflict_is_counted_apart_and_is_no_failure_of_the_key() -> None:
    _, _, meter, queue = await next_look(Conflict("stale", status=409))
    assert meter.counts["conflicts_total", ("controller", "Thing")] == 1
    assert queue.failures(KEY) == 0


async def test_only_a_bug_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        await next_look(Unavailable("refused"))
        await next_look(ZeroDivisionError("oops"))
    assert [(record.levelname, bool(record.exc_info)) for record in caplog.records] == [
        ("WARNING", False),
        ("ERROR", True),
    ]


async def test_success_ends_a_run_of_failures() -> None:
    queue: WorkQueue[Key] = WorkQueue(backoff=Backoff(first=1, jitter=0), random=Random(0))
    ends: list[Exception | None] = [ValueError(), ValueError(), None, ValueError()]
    failures = []

    async def reconcile(_: Key) -> None:
        if error := ends.pop(0):
            raise error

    workers = Workers(queue, {"Thing": reconcile}, meter=Tally(), random=Random(0))
    for _ in range(4):
        await workers.handle(KEY)
        failures.append(queue.failures(KEY))
    assert failures == [1, 2, 0, 1]


async def test_a_stop_lets_every_worker_finish_what_it_holds_and_starts_nothing_more() -> None:
    queue: WorkQueue[Key] = WorkQueue(random=Random(0))
    finished: list[str] = []

    async def reconcile(key: Key) -> None:
        await asyncio.sleep(3)
        finished.append(key.name)

    workers = Workers(queue, {"Thing": reconcile}, meter=Tally(), random=Random(0), count=2)
    for name in ("a", "b", "c"):
        queue.add(Key("Thing", "ns", name))
    running = asyncio.create_task(workers.run())
    await asyncio.sleep(1)
    queue.close()
    await running
    assert sorted(finished) == ["a", "b"]
    assert workers.last_done == 3


async def test_no_more_reconciliations_run_at_once_than_there_are_workers() -> None:
    queue: WorkQueue[Key] = WorkQueue(random=Random(0))
    running, most = 0, 0
    seen: list[Key] = []

    async def reconcile(key: Key) -> None:
        nonlocal running, most
        seen.append(key)
        running += 1
        most = max(most, running)
        await asyncio.sleep(1)
        running -= 1

    workers = Workers(queue, {"Thing": reconcile}, meter=Tally(), random=Random(0), count=3)
    for number in range(10):
        queue.add(Key("Thing", "ns", str(number)))
    task = asyncio.create_task(workers.run())
    await asyncio.sleep(5)
    queue.close()
    await task
    assert most == 3
    assert len(seen) == 10
