"""One run of a process: its tasks side by side, and the order in which they end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any


def catch_signals(stopping: asyncio.Event) -> None:
    """Have SIGTERM and SIGINT ask for a stop, where signals can be caught: in the main thread."""
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)


async def supervise(
    tasks: Collection[asyncio.Task[Any]],
    watches: asyncio.Task[Any],
    *,
    stopping: asyncio.Event,
    end_watches: asyncio.Event,
    finish: Callable[[], Awaitable[None]],
    patience: float,
) -> str:
    """Wait until a task ends or a stop is asked for; `finish` comes next then, and the watches go on meanwhile.

    In the end the watches have `patience` seconds to end. Returns "" after a stop, else the names of the tasks that
    ended by themselves; raises what the first of them raised.
    """
    stop = asyncio.create_task(stopping.wait(), name="stop")
    try:
        done, _ = await asyncio.wait({stop, *tasks, watches}, return_when=asyncio.FIRST_COMPLETED)
        if stopping.is_set():
            await finish()
    finally:
        end_watches.set()
        for task in (stop, *tasks):
            task.cancel()
        await asyncio.gather(stop, *tasks, return_exceptions=True)
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await asyncio.wait_for(watches, patience)
    if stopping.is_set():
        return ""
    raise_first(done)
    return ", ".join(task.get_name() for task in done)


def raise_first(done: Iterable[asyncio.Task[Any]]) -> None:
    """Raise what the first of these tasks raised, if any did."""
    for task in done:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
