"""Requests through a real gateway to real servers on the loopback."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.unit.gateway.backends import Heard, answer_ok, model_service, read_answer, read_head, staged, until

A, B = "10.0.0.1", "10.0.0.2"


async def test_a_request_and_its_answer_pass_unchanged() -> None:
    async with staged() as stage:
        replica = await stage.replica(A)
        stage.show(model_service())
        stage.ready(A)
        answer = await stage.ask(
            body=b'{"inputs": []}', headers=("X-Mine: 1", "X-Request-Id: r-7", "Content-Encoding: gzip")
        )
        assert answer.status == 200
        assert json.loads(answer.body) == {"line": "POST /v2/models/m/infer HTTP/1.1", "body": '{"inputs": []}'}
        assert answer.header("X-Request-Id") == "r-7"
        (heard,) = replica.heard
        assert (heard.header("X-Mine"), heard.header("Host"), heard.header("X-Request-Id")) == ("1", "llm.team", "r-7")
        assert heard.header("X-Forwarded-For") == "127.0.0.1"
        assert heard.header("Content-Encoding") == "gzip"
        assert heard.header("Connection") is None


async def test_a_request_without_an_id_gets_one() -> None:
    async with staged() as stage:
        replica = await stage.replica(A)
        stage.show(model_service())
        stage.ready(A)
        answer = await stage.ask()
        assert answer.header("X-Request-Id") == replica.heard[0].header("X-Request-Id")
        assert len(answer.header("X-Request-Id") or "") == 32


async def test_a_path_and_a_model_lead_to_their_services() -> None:
    async with staged() as stage:
        replica = await stage.replica(A)
        stage.show(model_service())
        stage.ready(A)
        await stage.ask(path="/team/llm/v2/models/m/infer", host="gateway")
        await stage.ask(path="/v1/embeddings", host="gateway", body=b'{"model": "llm"}')
        await stage.ask(path="/team/v1/embeddings", host="gateway", body=b'{"model": "llm"}')
        lines = [heard.line.split()[1] for heard in replica.heard]
        assert lines == ["/v2/models/m/infer", "/v1/embeddings", "/v1/embeddings"]
        assert replica.heard[1].body == b'{"model": "llm"}'


async def test_events_pass_as_they_come() -> None:
    go_on = asyncio.Event()

    async def stream(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"9\r\ndata: 1\n\n\r\n")
        await writer.drain()
        await go_on.wait()
        writer.write(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")

    async with staged() as stage:
        await stage.replica(A, stream)
        stage.show(model_service())
        stage.ready(A)
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: llm.team\r\nContent-Length: 2\r\n\r\n{}")
        line, headers = await read_head(reader)
        assert line == "HTTP/1.1 200 OK"
        assert ("Content-Type", "text/event-stream") in headers
        assert await reader.readuntil(b"1\n\n\r\n") == b"9\r\ndata: 1\n\n\r\n"
        go_on.set()
        assert await reader.readuntil(b"0\r\n\r\n") == b"9\r\ndata: 2\n\n\r\n0\r\n\r\n"
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: llm.team\r\nContent-Length: 2\r\n\r\n{}")
        assert (await read_answer(reader)).body == b"data: 1\n\ndata: 2\n\n"
        writer.close()


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_an_answer_without_a_length_is_whole_for_every_client(version: str) -> None:
    async def unmeasured(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300_000)
        await writer.drain()
        writer.close()

    async with staged() as stage:
        await stage.replica(A, unmeasured)
        stage.show(model_service())
        stage.ready(A)
        answer = await stage.send(f"GET / HTTP/{version}\r\nHost: llm.team\r\n\r\n".encode(), "GET")
        assert answer.body == b"x" * 300_000
        assert (answer.header("Transfer-Encoding"), answer.header("Connection")) == (
            ("chunked", None) if version == "1.1" else (None, "close")
        )


async def test_answers_without_a_body_leave_the_connection_usable() -> None:
    async def bodiless(heard: Heard, writer: asyncio.StreamWriter) -> None:
        if heard.line.startswith("HEAD"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        elif "/204" in heard.line:
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n")

    async with staged() as stage:
        replica = await stage.replica(A, bodiless)
        stage.show(model_service())
        stage.ready(A)
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        for method, path, status in (
            ("HEAD", "/", 200),
            ("GET", "/204", 204),
            ("GET", "/304", 304),
            ("HEAD", "/", 200),
        ):
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: llm.team\r\n\r\n".encode())
            answer = await read_answer(reader, method)
            assert (answer.status, answer.body) == (status, b"")
        assert replica.connections == 1
        writer.close()


async def test_a_large_body_passes_in_parts_with_its_length_or_in_chunks() -> None:
    async def measure(heard: Heard, writer: asyncio.StreamWriter) -> None:
        heard.body = b"%d" % len(heard.body)
        await answer_ok(heard, writer)

    async with staged(kept_bytes=1000) as stage:
        replica = await stage.replica(A, measure)
        stage.show(model_service())
        stage.ready(A)
        assert json.loads((await stage.ask(body=b"x" * 3_000_000)).body)["body"] == "3000000"
        assert replica.heard[0].header("Content-Length") == "3000000"
        chunk = b"%x\r\n%b\r\n" % (100_000, b"y" * 100_000)
        head = b"POST /x HTTP/1.1\r\nHost: llm.team\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        answer = await stage.send(head + 20 * chunk + b"0\r\n\r\n")
        assert json.loads(answer.body)["body"] == "2000000"
        assert replica.heard[1].header("Transfer-Encoding") == "chunked"


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked() -> None:
    async with staged() as stage:
        replica = await stage.replica(A)
        stage.show(model_service())
        stage.ready(A)
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(
            b"POST /v2/models/m/infer HTTP/1.1\r\nHost: llm.team\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        assert (await read_head(reader))[0] == "HTTP/1.1 100 Continue"
        writer.write(b"{}")
        assert (await read_answer(reader)).status == 200
        assert replica.heard[0].header("Expect") is None
        writer.close()


async def test_connections_to_replicas_are_used_again() -> None:
    async with staged() as stage:
        replica = await stage.replica(A)
        stage.show(model_service())
        stage.ready(A)
        for _ in range(5):
            assert (await stage.ask()).status == 200
        assert replica.connections == 1


async def test_two_requests_in_one_piece_are_answered_in_their_order() -> None:
    async with staged() as stage:
        await stage.replica(A)
        stage.show(model_service())
        stage.ready(A)
        one = b"POST /%d HTTP/1.1\r\nHost: llm.team\r\nContent-Length: 2\r\n\r\n{}"
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(b"".join(one % number for number in range(5)))
        lines = [json.loads((await read_answer(reader)).body)["line"] for _ in range(5)]
        assert lines == [f"POST /{number} HTTP/1.1" for number in range(5)]
        writer.close()


async def test_requests_go_to_the_replica_with_the_fewest_open_ones() -> None:
    go_on = asyncio.Event()

    async def slow(heard: Heard, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        await answer_ok(heard, writer)

    async with staged() as stage:
        stuck, quick = await stage.replica(A, slow), await stage.replica(B)
        stage.show(model_service())
        stage.ready(A)
        asked = [asyncio.create_task(stage.ask()) for _ in range(3)]
        await until("three requests to be open", lambda: len(stuck.heard) == 3)
        stage.ready(A, B)
        for _ in range(5):
            await stage.ask()
        assert (len(stuck.heard), len(quick.heard)) == (3, 5)
        go_on.set()
        assert [answer.status for answer in await asyncio.gather(*asked)] == [200] * 3


async def test_a_replica_that_goes_gets_no_new_request_and_finishes_its_own() -> None:
    go_on = asyncio.Event()

    async def slow(heard: Heard, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        await answer_ok(heard, writer)

    async with staged() as stage:
        going, staying = await stage.replica(A, slow), await stage.replica(B)
        stage.show(model_service())
        stage.ready(A)
        asked = asyncio.create_task(stage.ask())
        await until("the request to be open", lambda: going.heard)
        stage.ready(B)
        for _ in range(4):
            assert (await stage.ask()).status == 200
        assert (len(going.heard), len(staying.heard)) == (1, 4)
        go_on.set()
        assert (await asked).status == 200


async def test_the_canary_gets_its_percent_and_a_header_chooses_the_track() -> None:
    async with staged() as stage:
        stable, canary = await stage.replica(A), await stage.replica(B)
        stage.show(model_service(percent=20))
        stage.ready(A)
        stage.ready(B, service="llm-canary")
        for _ in range(50):
            await stage.ask()
        assert (len(stable.heard), len(canary.heard)) == (40, 10)
        await stage.ask(headers=("X-Modelservice-Track: canary",))
        await stage.ask(headers=("X-Modelservice-Track: stable",))
        assert (len(stable.heard), len(canary.heard)) == (41, 11)
        assert (await stage.ask(headers=("X-Modelservice-Track: other",))).status == 400
        assert stage.figures.of("requests_total", track="canary", code="200") == 11
        assert stage.figures.of("request_duration_seconds", track="stable") == 41


async def test_a_canary_of_zero_percent_gets_nothing_by_itself_and_one_that_goes_leaves_all_to_the_stable_track() -> (
    None
):
    async with staged() as stage:
        stable, canary = await stage.replica(A), await stage.replica(B)
        stage.show(model_service(percent=0))
        stage.ready(A)
        stage.ready(B, service="llm-canary")
        for _ in range(10):
            await stage.ask()
        stage.show(model_service(percent=50))
        stage.ready(service="llm-canary")
        for _ in range(10):
            await stage.ask()
        assert (len(stable.heard), len(canary.heard)) == (20, 0)
        forced = await stage.ask(headers=("X-Modelservice-Track: canary",))
        assert (forced.status, forced.sentence) == (503, "Service team/llm has no ready replica on track canary.")


async def test_a_client_that_goes_ends_its_request_at_the_replica() -> None:
    ended = asyncio.Event()

    async def compute(heard: Heard, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
                await writer.drain()
                await asyncio.sleep(0.005)
        except ConnectionError:
            ended.set()

    async with staged() as stage:
        replica = await stage.replica(A, compute)
        stage.show(model_service())
        stage.ready(A)
        _, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(b"POST /v2/models/m/infer HTTP/1.1\r\nHost: llm.team\r\nContent-Length: 2\r\n\r\n{}")
        await until("the request to be open", lambda: replica.heard)
        writer.close()
        await asyncio.wait_for(ended.wait(), 5)
        await until("it to be counted", lambda: stage.figures.of("requests_total", code="499") == 1)


async def test_an_answer_that_breaks_off_is_cut_off_and_never_asked_for_again() -> None:
    async def half(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await writer.drain()
        writer.transport.abort()

    async with staged() as stage:
        first, second = await stage.replica(A, half), await stage.replica(B, half)
        stage.show(model_service())
        stage.ready(A, B)
        with pytest.raises(asyncio.IncompleteReadError):
            await stage.ask("GET", "/v2", b"")
        assert len(first.heard) + len(second.heard) == 1
        await until("it to be counted", lambda: stage.figures.of("requests_total", code="502", track="stable") == 1)
