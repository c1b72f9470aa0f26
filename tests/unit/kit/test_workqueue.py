import asyncio
from random import Random

import pytest
from modelservice.kit.ratelimit import Backoff, TokenBucket
from modelservice.kit.workqueue import RELIST, WorkQueue

pytestmark = pytest.mark.looptime(start=0)


def make() -> WorkQueue[str]:
    return WorkQueue(
        backoff=Backoff(first=1, ceiling=60, jitter=0), bucket=TokenBucket(rate=1000, burst=1000), random=Random(0)
    )


def now() -> float:
    return asyncio.get_running_loop().time()


async def take(queue: WorkQueue[str], count: int) -> list[str | None]:
    """Take and finish that many keys."""
    taken = []
    for _ in range(count):
        key = await queue.get()
        taken.append(key)
        if key is not None:
            queue.done(key)
    return taken


async def test_a_key_added_many_times_while_it_waits_is_given_out_once() -> None:
    queue = make()
    for _ in range(1000):
        queue.add("a")
    queue.add("b")
    assert await take(queue, 2) == ["a", "b"]
    assert len(queue) == 0


async def test_a_key_added_while_in_work_is_given_out_again_after_done_and_never_to_two_workers() -> None:
    queue = make()
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("a")
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(5)
    assert not waiting.done()
    queue.done("a")
    assert await waiting == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_live_changes_go_before_those_of_a_list_and_equals_keep_their_order() -> None:
    queue = make()
    for key in ("r1", "r2"):
        queue.add(key, priority=RELIST)
    for key in ("l1", "l2"):
        queue.add(key)
    assert await take(queue, 4) == ["l1", "l2", "r1", "r2"]


async def test_a_waiting_key_that_becomes_urgent_moves_up_and_is_still_one_entry() -> None:
    queue = make()
    queue.add("a", priority=RELIST)
    queue.add("b", priority=RELIST)
    queue.add("b")
    queue.add("b", priority=RELIST)
    assert await take(queue, 2) == ["b", "a"]
    assert len(queue) == 0


async def test_a_key_for_later_comes_at_its_earliest_time() -> None:
    queue = make()
    queue.add_after("a", 30)
    queue.add_after("a", 10)
    queue.add_after("a", 20)
    queue.add_after("b", 15)
    assert await take(queue, 2) == ["a", "b"]
    assert now() == 15
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(100)
    assert not waiting.done()
    waiting.cancel()


async def test_a_change_does_not_cancel_what_was_asked_for_later() -> None:
    queue = make()
    queue.add_after("a", 10)
    queue.add("a")
    assert await take(queue, 1) == ["a"]
    assert now() == 0
    assert await take(queue, 1) == ["a"]
    assert now() == 10


async def test_a_key_that_keeps_failing_backs_off_and_starts_anew_after_success() -> None:
    queue = make()
    assert [queue.retry("a") for _ in range(4)] == [1, 2, 4, 8]
    assert queue.failures("a") == 4
    queue.forget("a")
    assert queue.retry("a") == 1


async def test_a_key_that_fails_for_ever_holds_up_nobody_else() -> None:
    queue = make()
    queue.add("bad")
    done_at: list[float] = []

    async def work() -> None:
        while (key := await queue.get()) is not None:
            if key == "bad":
                queue.retry(key)
            else:
                done_at.append(now())
            queue.done(key)

    worker = asyncio.create_task(work())
    for second in range(100):
        queue.add(f"good-{second}")
        await asyncio.sleep(1)
    queue.close()
    await worker
    assert done_at == list(range(100))
    assert queue.failures("bad") <= 9


async def test_many_keys_that_fail_at_once_come_back_at_the_rate_of_the_bucket() -> None:
    queue: WorkQueue[str] = WorkQueue(
        backoff=Backoff(first=1, ceiling=1, jitter=0), bucket=TokenBucket(rate=10, burst=10), random=Random(0)
    )
    delays = [queue.retry(f"k{n}") for n in range(110)]
    assert delays[0] == 1
    assert delays[-1] == pytest.approx(10)


async def test_closing_ends_every_waiting_worker_and_drops_what_waits() -> None:
    queue = make()
    workers = [asyncio.create_task(queue.get()) for _ in range(3)]
    queue.add_after("later", 5)
    await asyncio.sleep(1)
    queue.close()
    queue.close()
    queue.add("a")
    assert await asyncio.gather(*workers) == [None, None, None]
    await asyncio.sleep(10)
    assert await queue.get() is None


async def test_a_thousand_changes_of_one_object_in_a_second_cost_at_most_twenty_looks() -> None:
    queue = make()
    looks = 0

    async def work() -> None:
        nonlocal looks
        while (key := await queue.get()) is not None:
            await asyncio.sleep(0.1)
            looks += 1
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(8)]
    for _ in range(1000):
        queue.add("hot")
        await asyncio.sleep(0.001)
    await asyncio.sleep(1)
    queue.close()
    await asyncio.gather(*workers)
    assert 2 <= looks <= 20
