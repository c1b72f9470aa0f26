"""Clients that send too much, too slowly, or what is no HTTP."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from tests.unit.gateway.backends import Answer, model_service, read_answer, staged, until

A = "10.0.0.1"
HEAD = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: llm.team\r\n"


async def test_a_body_above_the_limit_is_refused_before_and_while_it_comes() -> None:
    async with staged(body_bytes=1000, kept_bytes=100) as stage:
        replica = await stage.replica(A)
        stage.show(model_service())
        stage.ready(A)
        answer = await stage.send(HEAD + b"Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n")
        assert (answer.status, answer.sentence) == (413, "The body of the request is larger than 1000 bytes.")
        chunks = 30 * (b"64\r\n" + b"x" * 100 + b"\r\n")
        answer = await stage.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        assert answer.status == 413
        assert not replica.heard
        assert (await stage.ask(body=b"x" * 1000)).status == 200


async def test_a_body_that_becomes_too_large_on_its_way_ends_the_request_at_the_replica() -> None:
    async with staged(body_bytes=400_000, kept_bytes=100) as stage:
        replica = await stage.replica(A)
        stage.show(model_service())
        stage.ready(A)
        chunk = b"%x\r\n%b\r\n" % (50_000, b"x" * 50_000)
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
        await until("the replica to be asked", lambda: replica.connections == 1)
        writer.write(20 * chunk)
        assert (await read_answer(reader)).status == 413
        assert not replica.heard
        writer.close()


@pytest.mark.parametrize("kept", [1000, 2])
async def test_a_body_that_does_not_come_is_timed_out(kept: int) -> None:
    async with staged(body=0.2, kept_bytes=kept) as stage:
        await stage.replica(A)
        stage.show(model_service())
        stage.ready(A)
        answer = await stage.send(HEAD + b"Content-Length: 100\r\n\r\nabc")
        assert (answer.status, answer.sentence) == (408, "The body of the request did not come within 0.2 s.")


async def test_a_client_that_goes_within_its_body_is_no_fault_of_ours() -> None:
    async with staged(kept_bytes=1000) as stage:
        replica = await stage.replica(A)
        stage.show(model_service())
        stage.ready(A)
        for body in (b"abc", b"x" * 5000):
            _, writer = await asyncio.open_connection("127.0.0.1", stage.port)
            writer.write(HEAD + b"Content-Length: 100000\r\nExpect: 100-continue\r\n\r\n" + body)
            await until("it to be in work", lambda: stage.gateway._state.open)
            writer.close()
            await until("it to end", lambda: not stage.gateway._state.open)
        assert stage.figures.of("requests_total") == stage.figures.of("requests_total", code="499") == 2
        assert not replica.heard


async def test_a_head_that_does_not_come_is_timed_out_and_an_idle_connection_closed() -> None:
    async with staged(head=0.1, idle=0.4) as stage:
        assert (await stage.send(b"POST / HTTP/1.1\r\nHost: ")).status == 408
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize(
    "data",
    [
        b"POST /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: llm.team\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: llm.team\r\nX: " + b"x" * 10_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: llm.team\r\n" + b"X: 1\r\n" * 200 + b"\r\n",
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        HEAD + b"Content-Length: -1\r\n\r\n{}",
        HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHo st: llm.team\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"nonsense\r\n\r\n",
    ],
)
async def test_what_is_no_sound_request_is_refused(data: bytes) -> None:
    async with staged() as stage:
        replica = await stage.replica(A)
        stage.show(model_service())
        stage.ready(A)
        assert (await stage.send(data)).status == 400
        assert not replica.heard
        assert (await stage.ask()).status == 200


async def test_connections_above_the_limit_are_refused() -> None:
    async with staged(connections=3) as stage:
        await stage.replica(A)
        stage.show(model_service())
        stage.ready(A)
        opened = [await asyncio.open_connection("127.0.0.1", stage.port) for _ in range(3)]
        await until("three connections", lambda: stage.figures.gauges.get(("connections", ())) == 3)
        answer = await stage.send(b"")
        assert (answer.status, answer.header("Retry-After")) == (503, "1")
        opened[0][1].close()
        await until("two connections", lambda: stage.figures.gauges.get(("connections", ())) == 2)
        assert (await stage.ask()).status == 200
        for _, writer in opened[1:]:
            writer.close()


async def test_a_client_that_takes_nothing_is_cut_off() -> None:
    async def flood(heard: object, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
        with suppress(ConnectionError):
            for _ in range(50):
                writer.write(b"x" * 1_000_000)
                await writer.drain()

    async with staged(body=0.3) as stage:
        await stage.replica(A, flood)
        stage.show(model_service())
        stage.ready(A)
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port, limit=1000)
        writer.write(HEAD + b"Content-Length: 2\r\n\r\n{}")
        await until("it to be cut off", lambda: stage.figures.of("requests_total", code="499") == 1)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(50_000_000)
        writer.close()


async def test_an_error_has_the_form_of_the_protocol() -> None:
    async with staged() as stage:
        open_ai = await stage.ask(path="/v1/embeddings", host="gateway", body=b'{"model": "none"}')
        assert open_ai.body == (
            b'{"error": {"message": "There is no service \'none\'.", "type": "invalid_request_error", '
            b'"param": null, "code": "model_not_found"}}'
        )
        plain = await stage.ask(host="gateway")
        assert plain.status == 404
        assert plain.body.startswith(b'{"error": "This names no service. Ask for the host <name>.<namespace>')


async def test_the_model_of_a_compressed_or_large_body_is_not_read() -> None:
    async with staged(kept_bytes=1000) as stage:
        stage.show(model_service())
        packed = await stage.ask(path="/v1/embeddings", host="gateway", headers=("Content-Encoding: gzip",))
        assert packed.status == 415
        large = await stage.ask(path="/v1/embeddings", host="gateway", body=b'{"model": "llm"}' + b" " * 3_000_000)
        assert large.status == 413


PIECES = (
    *(
        b"POST ",
        b"GET ",
        b"CONNECT ",
        b"OPTIONS ",
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b": ",
        b"\x00",
        b"\xff\xfe",
    ),
    *(b"/v2/models/m/infer", b"//", b"http://x", b"%zz", b"*", b"[::1]", b" HTTP/1.1", b" HTTP/1.0", b" HTTP/9.9"),
    *(b"Host: llm.team", b"Host: a\r\nHost: b", b"Content-Length: 5", b"Content-Length: 99999999999999999999"),
    *(b"Transfer-Encoding: chunked", b"5\r\nhello\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"{}"),
    *(b"Connection: upgrade, close", b"Upgrade: websocket", b"Expect: 100-continue", b"Content-Encoding: gzip"),
    *(b"X-Modelservice-Track: \xe4", b"X-Request-Id: \xff"),
)


async def test_no_bytes_of_a_client_crash_the_gateway_or_spoil_its_neighbours() -> None:
    source = random.Random(7)
    whole = HEAD + b"Content-Length: 2\r\n\r\n{}"
    async with staged() as stage:
        await stage.replica(A)
        stage.show(model_service())
        stage.ready(A)

        async def shoot(number: int) -> Answer | None:
            if number % 3:
                data = b"".join(source.choices(PIECES, k=source.randrange(1, 12)))
            else:
                spoiled = bytearray(whole)
                for _ in range(source.randrange(1, 4)):
                    spoiled[source.randrange(len(spoiled))] = source.randrange(256)
                data = bytes(spoiled)
            with suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError):
                return await asyncio.wait_for(stage.send(data), 0.1)
            return None

        for start in range(0, 1000, 100):
            answers = await asyncio.gather(*(shoot(number) for number in range(start, start + 100)), stage.ask())
            assert answers[-1] is not None
            assert answers[-1].status == 200
            assert all(answer is None or answer.status != 500 for answer in answers)
        assert stage.figures.of("requests_total", code="500") == 0
        await until("all connections to end", lambda: stage.figures.gauges[("connections", ())] == 0)
