"""Replicas that change while requests run."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

from tests.unit.gateway.backends import Heard, Stage, answer_ok, model_service, staged, until

CLIENTS = 8


async def answer_slowly(heard: Heard, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.01)
    await answer_ok(heard, writer)


async def answer_and_close(heard: Heard, writer: asyncio.StreamWriter) -> None:
    """As a server answers that stops: this is the connection's last answer."""
    body = json.dumps({"body": heard.body.decode()}).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()
    writer.close()


async def ask_on(stage: Stage, client: int, stop: asyncio.Event, answers: Counter[int]) -> None:
    """Ask until told to stop; each answer must be to this client's own request."""
    number = 0
    while not stop.is_set():
        number += 1
        body = f"{client}-{number}"
        answer = await stage.ask(body=body.encode())
        answers[answer.status] += 1
        assert json.loads(answer.body)["body"] == body


async def test_a_rolling_update_under_load_loses_no_request() -> None:
    async with staged() as stage:
        stage.show(model_service())
        old = await stage.replica("10.0.0.1", answer_slowly)
        stage.ready("10.0.0.1")
        stop, answers = asyncio.Event(), Counter[int]()
        clients = [asyncio.create_task(ask_on(stage, client, stop, answers)) for client in range(CLIENTS)]
        for number in range(2, 6):
            host, before = f"10.0.0.{number}", f"10.0.0.{number - 1}"
            new = await stage.replica(host, answer_slowly)
            stage.ready(before, host)
            await until("the new replica to take requests", lambda new=new: len(new.heard) > CLIENTS)  # type: ignore[misc]
            old.serve = answer_and_close  # SIGTERM: the end of the endpoint is seen a moment later
            count = len(old.heard)
            await until("the old one to answer while it drains", lambda old=old, count=count: len(old.heard) > count)  # type: ignore[misc]
            stage.ready(host)
            await until("its last requests to end", lambda old=old: idle(stage, old.port))  # type: ignore[misc]
            await old.stop()
            old = new
        stop.set()
        await asyncio.gather(*clients)
        assert set(answers) == {200}
        assert answers[200] > 4 * CLIENTS


def idle(stage: Stage, port: int) -> bool:
    """Whether no connection to a replica is open."""
    replica = next(one for one in stage.replicas if one.port == port)
    return replica.connections == replica.ended


async def test_a_replica_that_is_killed_loses_only_what_was_sent_to_it() -> None:
    async with staged() as stage:
        stage.show(model_service())
        killed, other = await stage.replica("10.0.0.1", never), await stage.replica("10.0.0.2", answer_slowly)
        stage.ready("10.0.0.1")
        lost = asyncio.create_task(stage.ask())
        await until("it to be asked", lambda: killed.heard)
        stage.ready("10.0.0.1", "10.0.0.2")
        await killed.stop()
        assert (await lost).status == 502
        assert [(await stage.ask()).status for _ in range(10)] == [200] * 10
        assert len(other.heard) == 10


async def never(heard: Heard, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()
