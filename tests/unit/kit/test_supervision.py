"""The order in which one run ends."""

from __future__ import annotations

import asyncio

import pytest
from modelservice.kit.supervision import supervise


class Run:
    """One run that notes in which order its parts end."""

    def __init__(self) -> None:
        self.stopping, self.end_watches = asyncio.Event(), asyncio.Event()
        self.order: list[str] = []

    async def watch(self) -> None:
        await self.end_watches.wait()
        self.order.append("watches")

    async def work(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.order.append("work")

    async def finish(self) -> None:
        self.order.append("finish")

    async def until_its_end(self, *more: asyncio.Task[None]) -> str:
        tasks = [asyncio.create_task(self.work(), name="work"), *more]
        watches = asyncio.create_task(self.watch(), name="watches")
        return await supervise(
            tasks, watches, stopping=self.stopping, end_watches=self.end_watches, finish=self.finish, patience=5
        )


async def test_after_a_stop_what_is_open_is_finished_while_tasks_and_watches_go_on() -> None:
    run = Run()
    asyncio.get_running_loop().call_soon(run.stopping.set)
    assert await run.until_its_end() == ""
    assert run.order[0] == "finish"
    assert sorted(run.order[1:]) == ["watches", "work"]


async def test_a_task_that_ends_by_itself_is_named_and_nothing_is_finished() -> None:
    run = Run()
    assert await run.until_its_end(asyncio.create_task(asyncio.sleep(0), name="lease")) == "lease"
    assert sorted(run.order) == ["watches", "work"]


async def test_what_a_task_raised_is_raised_once_everything_has_ended() -> None:
    async def fail() -> None:
        raise ValueError("no lease")

    run = Run()
    with pytest.raises(ValueError, match="no lease"):
        await run.until_its_end(asyncio.create_task(fail()))
    assert sorted(run.order) == ["watches", "work"]
