"""What the gateway sends to a second replica, and what never."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.gateway.backends import Heard, answer_ok, model_service, staged, until

A, B = "10.0.0.1", "10.0.0.2"


async def drop(heard: Heard, writer: asyncio.StreamWriter) -> None:
    """End the connection without an answer."""
    writer.transport.abort()


async def drain(heard: Heard, writer: asyncio.StreamWriter) -> None:
    """What a server says that stops."""
    writer.write(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 4\r\n\r\nstop")
    await writer.drain()
    writer.close()


async def test_a_refused_connection_leads_to_another_replica_and_the_refusing_one_rests() -> None:
    async with staged() as stage:
        gone, there = await stage.replica(A), await stage.replica(B)
        await gone.stop()
        stage.show(model_service())
        stage.ready(A, B)
        assert [(await stage.ask(body=b"body")).status for _ in range(10)] == [200] * 10
        assert [heard.body for heard in there.heard] == [b"body"] * 10
        assert stage.figures.of("retries_total", reason="NotReached") == 1


async def test_while_every_replica_refuses_a_request_of_inference_waits_and_others_do_not() -> None:
    async with staged() as stage:
        replica = await stage.replica(A)
        await replica.stop()
        stage.show(model_service())
        stage.ready(A)
        assert (await stage.ask("GET", "/v2/health/ready", b"")).status == 503
        asked = asyncio.create_task(stage.ask())
        await until("the request to be held", lambda: stage.figures.gauges.get(HELD) == 1)
        await replica.start()
        assert (await asked).status == 200


HELD = ("held_requests", (("service_name", "llm"), ("service_namespace", "team")))


async def test_a_replica_that_drains_leads_to_another_one() -> None:
    async with staged() as stage:
        draining, there = await stage.replica(A, drain), await stage.replica(B)
        stage.show(model_service())
        stage.ready(A, B)
        assert [(await stage.ask()).status for _ in range(6)] == [200] * 6
        assert (len(draining.heard), len(there.heard)) == (1, 6)
        assert stage.figures.of("retries_total", reason="Draining") == 1


async def test_a_canary_that_drains_leads_to_the_stable_replicas_and_costs_nobody_his_share() -> None:
    async with staged() as stage:
        stable, draining = await stage.replica(A), await stage.replica(B, drain)
        stage.show(model_service(percent=50))
        stage.ready(A)
        stage.ready(B, service="llm-canary")
        assert [(await stage.ask()).status for _ in range(8)] == [200] * 8
        assert (len(stable.heard), len(draining.heard)) == (8, 1)
        assert next(iter(stage.gateway.directory)).turns.share in (0, 50)


async def test_where_all_drain_their_answer_passes() -> None:
    async with staged() as stage:
        for host in (A, B):
            await stage.replica(host, drain)
        stage.show(model_service())
        stage.ready(A, B)
        answer = await stage.ask()
        assert (answer.status, answer.body) == (503, b"stop")


async def test_a_503_of_a_replica_that_goes_on_passes() -> None:
    async def busy(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")

    async with staged() as stage:
        first, second = await stage.replica(A, busy), await stage.replica(B, busy)
        stage.show(model_service())
        stage.ready(A, B)
        assert (await stage.ask()).header("Retry-After") == "7"
        assert len(first.heard) + len(second.heard) == 1


async def test_a_post_that_was_sent_is_not_sent_again() -> None:
    async with staged() as stage:
        first, second = await stage.replica(A, drop), await stage.replica(B, drop)
        stage.show(model_service())
        stage.ready(A, B)
        answer = await stage.ask()
        assert answer.status == 502
        assert "ended the connection without an answer" in answer.sentence
        assert len(first.heard) + len(second.heard) == 1


async def test_a_get_is_sent_again() -> None:
    async with staged() as stage:
        first, second = await stage.replica(A, drop), await stage.replica(B)
        stage.show(model_service())
        stage.ready(A, B)
        assert [(await stage.ask("GET", "/v2", b"")).status for _ in range(4)] == [200] * 4
        assert first.heard
        assert second.heard


async def test_a_get_that_every_replica_drops_ends_with_502() -> None:
    async with staged() as stage:
        replica = await stage.replica(A, drop)
        stage.show(model_service())
        stage.ready(A)
        assert (await stage.ask("GET", "/v2", b"")).status == 502
        assert len(replica.heard) == 3


async def test_a_body_that_was_not_kept_whole_is_sent_once() -> None:
    async with staged(kept_bytes=10) as stage:
        first, second = await stage.replica(A, drain), await stage.replica(B, drain)
        stage.show(model_service())
        stage.ready(A, B)
        assert (await stage.ask(body=b"x" * 3_000_000)).status == 503
        assert len(first.heard) + len(second.heard) == 1


async def test_a_silent_replica_ends_in_504() -> None:
    async def silent(heard: Heard, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with staged(silence=0.2) as stage:
        await stage.replica(A, silent)
        stage.show(model_service())
        stage.ready(A)
        answer = await stage.ask()
        assert (answer.status, answer.sentence) == (504, "Replica 10.0.0.1:8080 sent nothing for 0.2 s.")


@pytest.mark.parametrize(
    "garbage",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 5000 + b"\r\n",
    ],
)
async def test_a_replica_that_does_not_speak_http_ends_in_502(garbage: bytes) -> None:
    async def odd(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(garbage)
        await writer.drain()
        writer.close()

    async with staged() as stage:
        await stage.replica(A, odd)
        stage.show(model_service())
        stage.ready(A)
        assert (await stage.ask()).status == 502
        stage.replicas[0].serve = answer_ok
        assert (await stage.ask()).status == 200
