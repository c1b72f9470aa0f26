import asyncio

import pytest
from modelservice.kit.cache import object_cache
from modelservice.kit.objects import Key
from modelservice.kit.resync import Missed, Source
from modelservice.kit.watchdog import Limits, Watchdog
from modelservice.kit.workqueue import WorkQueue

from tests.unit.kit.meters import Tally
from tests.unit.kit.objects import make

pytestmark = pytest.mark.looptime(start=0)

KEY = Key("Thing", "ns", "a")
LIMITS = Limits(lag=5, work=300, idle=300, deaf=2)


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_quiet_process_is_well_for_ever() -> None:
    watchdog = Watchdog(WorkQueue(), meter=Tally(), limits=LIMITS, working=lambda: True)
    running = asyncio.create_task(watchdog.run())
    await asyncio.sleep(10_000)
    assert watchdog.problems() == []
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_blocked_loop_is_a_problem_until_it_runs_again() -> None:
    meter = Tally()
    watchdog = Watchdog(WorkQueue(), meter=meter, limits=LIMITS)
    watchdog.measure(10, late=7.5)
    assert watchdog.problems() == ["The event loop was blocked for 7.5 s."]
    assert meter.gauges["event_loop_lag_seconds",] == 7.5
    watchdog.measure(11, late=0.001)
    assert watchdog.problems() == []


async def test_a_key_in_work_for_too_long_is_named() -> None:
    queue: WorkQueue[Key] = WorkQueue()
    watchdog = Watchdog(queue, meter=Tally(), limits=LIMITS)
    queue.add(KEY)
    await queue.get()
    await asyncio.sleep(299)
    assert watchdog.problems() == []
    await asyncio.sleep(2)
    assert watchdog.problems() == ["Thing/ns/a has been in work for 301 s."]
    queue.done(KEY)
    assert watchdog.problems() == []


async def test_a_watch_that_is_deaf_twice_in_a_row_is_named() -> None:
    missed = {"Pod": Missed(in_a_row=1), "Node": Missed()}
    watchdog = Watchdog(WorkQueue(), meter=Tally(), limits=LIMITS, missed=missed)
    assert watchdog.problems() == []
    missed["Pod"].in_a_row = 2
    assert watchdog.problems() == ["The watch of Pod missed changes in 2 resyncs in a row."]


@pytest.mark.parametrize(("leading", "problems"), [(True, 1), (False, 0)])
async def test_keys_that_wait_while_none_is_finished_are_a_problem_of_the_leader_only(
    *, leading: bool, problems: int
) -> None:
    queue: WorkQueue[Key] = WorkQueue()
    watchdog = Watchdog(queue, meter=Tally(), limits=LIMITS, working=lambda: leading, last_done=lambda: 5.0)
    queue.add(KEY)
    watchdog.measure(now(), late=0)
    await asyncio.sleep(200)
    watchdog.measure(now(), late=0)
    assert watchdog.problems() == []
    await asyncio.sleep(120)
    assert len(watchdog.problems()) == problems


async def test_what_waited_while_another_replica_led_does_not_count_when_this_one_takes_over() -> None:
    queue: WorkQueue[Key] = WorkQueue()
    leading = False
    watchdog = Watchdog(queue, meter=Tally(), limits=LIMITS, working=lambda: leading)
    queue.add(KEY)
    for _ in range(10):
        watchdog.measure(now(), late=0)
        await asyncio.sleep(100)
    leading = True
    watchdog.measure(now(), late=0)
    assert watchdog.problems() == []


async def test_a_queue_that_empties_in_between_is_no_problem() -> None:
    queue: WorkQueue[Key] = WorkQueue()
    watchdog = Watchdog(queue, meter=Tally(), limits=LIMITS, working=lambda: True)
    for _ in range(5):
        queue.add(KEY)
        watchdog.measure(now(), late=0)
        await asyncio.sleep(200)
        await queue.get()
        watchdog.measure(now(), late=0)
        queue.done(KEY)
    assert watchdog.problems() == []


async def test_the_age_of_each_watch_and_of_the_oldest_work_is_shown() -> None:
    meter = Tally()
    queue: WorkQueue[Key] = WorkQueue()
    source = Source("Thing", object_cache(), lambda _obj, _priority: None)
    watchdog = Watchdog(queue, meter=meter, sources=[source])
    watchdog.measure(now(), late=0)
    assert ("watch_last_event_seconds", ("kind", "Thing")) not in meter.gauges
    source.observe("ADDED", make("a", 1))
    queue.add(KEY)
    await queue.get()
    await asyncio.sleep(12)
    watchdog.measure(now(), late=0)
    assert meter.gauges["watch_last_event_seconds", ("kind", "Thing")] == 12
    assert meter.gauges["workqueue_unfinished_work_seconds", ("name", "main")] == 12
