import asyncio

import pytest
from modelservice.kit.debounce import Debounce

pytestmark = pytest.mark.looptime(start=0)


async def closes_at(triggers: list[float], *, idle: float = 1, longest: float = 10) -> float:
    """When the first window closes that these triggers open."""
    debounce = Debounce(idle=idle, longest=longest)
    loop = asyncio.get_running_loop()
    for at in triggers:
        loop.call_at(at, debounce.trigger)
    await debounce.wait()
    return loop.time()


@pytest.mark.parametrize(
    ("triggers", "closed"),
    [
        ([0.5], 1.5),
        ([0.5, 1.0, 1.9], 2.9),
        ([0.5 * n for n in range(100)], 10),
        ([0, 0.999, 5], 1.999),
    ],
    ids=["one change", "changes in a row", "changes without end", "a pause ends the window"],
)
async def test_a_window_closes_after_a_quiet_second_and_after_ten_at_most(triggers: list[float], closed: float) -> None:
    assert await closes_at(triggers) == pytest.approx(closed)


async def test_a_change_after_the_window_opens_the_next_one() -> None:
    debounce = Debounce(idle=1, longest=10)
    debounce.trigger()
    await debounce.wait()
    debounce.trigger()
    await debounce.wait()
    assert asyncio.get_running_loop().time() == 2


async def test_nothing_happens_without_a_change() -> None:
    debounce = Debounce()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(debounce.wait(), 1000)


@pytest.mark.parametrize(("changes", "closed"), [([], 0.5), ([0.1, 0.4], 0.5), ([0.6], 0.5)])
async def test_what_somebody_waits_for_closes_the_window_at_once(changes: list[float], closed: float) -> None:
    debounce, loop = Debounce(idle=1, longest=10), asyncio.get_running_loop()
    for at in changes:
        loop.call_at(at, debounce.trigger)
    loop.call_at(0.5, lambda: debounce.trigger(at_once=True))
    await debounce.wait()
    assert loop.time() == pytest.approx(closed)
    assert debounce.hurried.is_set()


async def test_the_window_after_one_that_was_closed_at_once_is_an_ordinary_one() -> None:
    debounce, loop = Debounce(idle=1, longest=10), asyncio.get_running_loop()
    debounce.trigger(at_once=True)
    await debounce.wait()
    assert loop.time() == 0
    debounce.hurried.clear()
    debounce.trigger()
    await debounce.wait()
    assert loop.time() == 1
