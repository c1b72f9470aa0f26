import asyncio

import pytest
from modelservice.kit.parallel import together

pytestmark = pytest.mark.looptime(start=0)


async def test_work_is_done_a_few_at_once_and_answered_in_its_order() -> None:
    running = most = 0

    async def job(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(10 - number)
        running -= 1
        return number

    assert await together((job(n) for n in range(10)), at_once=3) == list(range(10))
    assert most == 3


async def test_nothing_to_do_is_done() -> None:
    assert await together([]) == []
