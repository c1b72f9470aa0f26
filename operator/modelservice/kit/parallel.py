"""Several requests at once, but not all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

T = TypeVar("T")

AT_ONCE = 16


async def together(work: Iterable[Awaitable[T]], *, at_once: int = AT_ONCE) -> list[T]:
    """Await all of it, `at_once` at a time; the results come in the order of the work."""
    limit = asyncio.Semaphore(at_once)

    async def one(job: Awaitable[T]) -> T:
        async with limit:
            return await job

    return await asyncio.gather(*(one(job) for job in work))
