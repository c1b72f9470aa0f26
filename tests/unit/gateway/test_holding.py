"""Services without a replica: what waits, what is woken, and what is answered at once."""

from __future__ import annotations

import asyncio

import pytest
from modelservice.kit.errors import Forbidden, NotFound, Unavailable

from tests.unit.gateway.backends import INFER, Stage, model_service, staged, until

A, B = "10.0.0.1", "10.0.0.2"
LABELS = (("service_name", "llm"), ("service_namespace", "team"))


def held(stage: Stage) -> float:
    return stage.figures.gauges.get(("held_requests", LABELS), 0)


async def test_requests_wait_for_a_replica_which_is_asked_for_once() -> None:
    async with staged() as stage:
        replica = await stage.replica(A)
        stage.show(model_service(minimum=0))
        asked = [asyncio.create_task(stage.ask()) for _ in range(100)]
        await until("all to be held", lambda: held(stage) == 100 and stage.operator.patches)
        ((kind, namespace, name, patch),) = stage.operator.patches
        assert (kind, namespace, name) == ("ModelService", "team", "llm")
        assert list(patch) == ["metadata"]
        assert list(patch["metadata"]["annotations"]) == ["modelservice.dev/wake-requested-at"]
        stage.ready(A)
        assert [answer.status for answer in await asyncio.gather(*asked)] == [200] * 100
        assert len(replica.heard) == 100
        assert held(stage) == 0
        assert stage.figures.of("hold_duration_seconds") == 100


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/health/ready"),
        ("GET", INFER),
        ("HEAD", "/"),
        ("POST", "/v2/unknown"),
        ("PUT", INFER),
        ("POST", "/"),
    ],
)
async def test_what_is_no_post_of_inference_wakes_nothing_and_is_answered_at_once(method: str, path: str) -> None:
    async with staged() as stage:
        stage.show(model_service(minimum=0))
        answer = await stage.ask(method, path, b"")
        assert answer.status == 503
        assert answer.header("Retry-After") is None
        assert not stage.operator.patches


@pytest.mark.parametrize(("path", "status"), [("/x/y/z", 404), ("/team/other/v2/models/m/infer", 404)])
async def test_what_names_no_service_wakes_nothing(path: str, status: int) -> None:
    async with staged() as stage:
        stage.show(model_service(minimum=0))
        answer = await stage.ask(path=path, host="gateway")
        assert answer.status == status
        assert answer.sentence.startswith("This names no service.")
        assert not stage.operator.patches


async def test_each_time_without_a_replica_wakes_anew() -> None:
    async with staged() as stage:
        await stage.replica(A)
        stage.show(model_service(minimum=0))
        for round_number in (1, 2):
            asked = asyncio.create_task(stage.ask())
            await until("it to be woken", lambda number=round_number: len(stage.operator.patches) == number)  # type: ignore[misc]
            stage.ready(A)
            assert (await asked).status == 200
            stage.ready()


async def test_a_wake_that_is_seen_after_the_replica_came_does_not_count_for_the_next_time_without_one() -> None:
    async with staged() as stage:
        await stage.replica(A)
        stage.show(model_service(minimum=0))
        stage.ready(A)
        stage.show(model_service(minimum=0, annotations={"modelservice.dev/wake-requested-at": "2026-01-01T00:00:00Z"}))
        stage.ready()
        asked = asyncio.create_task(stage.ask())
        await until("it to be woken", lambda: stage.operator.patches)
        stage.ready(A)
        assert (await asked).status == 200


async def test_another_gateways_wake_counts() -> None:
    async with staged() as stage:
        await stage.replica(A)
        stage.show(model_service(minimum=0))
        stage.show(model_service(minimum=0, annotations={"modelservice.dev/wake-requested-at": "2026-01-01T00:00:00Z"}))
        asked = asyncio.create_task(stage.ask())
        await until("it to be held", lambda: held(stage) == 1)
        stage.ready(A)
        assert (await asked).status == 200
        assert not stage.operator.patches


async def test_a_wake_that_led_to_nothing_is_repeated_by_the_requests_after_it() -> None:
    async with staged(hold=0.2) as stage:
        stage.show(model_service(minimum=0))
        assert [(await stage.ask()).status for _ in range(2)] == [503, 503]
        assert len(stage.operator.patches) == 2


async def test_a_service_that_keeps_replicas_is_waited_for_and_not_woken() -> None:
    async with staged() as stage:
        await stage.replica(A)
        stage.show(model_service(minimum=1))
        asked = asyncio.create_task(stage.ask())
        await until("it to be held", lambda: held(stage) == 1)
        stage.ready(A)
        assert (await asked).status == 200
        assert not stage.operator.patches


async def test_a_wake_is_tried_again_while_the_api_does_not_answer_and_requests_wait() -> None:
    async with staged() as stage:
        await stage.replica(A)
        stage.operator.failures = [Unavailable("no answer")]
        stage.show(model_service(minimum=0))
        asked = asyncio.create_task(stage.ask())
        await until("a second try", lambda: len(stage.operator.patches) == 2)
        stage.ready(A)
        assert (await asked).status == 200
        assert stage.figures.of("wakes_total", result="error") == 1
        assert stage.figures.of("wakes_total", result="ok") == 1


async def test_a_wake_that_is_forbidden_is_left_when_nobody_waits_any_longer() -> None:
    async with staged(hold=0.1) as stage:
        stage.operator.failures = [Forbidden("no")] * 9
        stage.show(model_service(minimum=0))
        assert (await stage.ask()).status == 503
        target = next(iter(stage.gateway.directory))
        await until("the end of the tries", lambda: target.wake_asked_at is None)
        assert len(stage.operator.patches) == 1


async def test_a_wake_of_a_service_that_is_gone_ends() -> None:
    async with staged(hold=0.1) as stage:
        stage.operator.failures = [NotFound("gone")]
        stage.show(model_service(minimum=0))
        assert (await stage.ask()).status == 503
        assert len(stage.operator.patches) == 1
        assert stage.figures.of("wakes_total") == 0


async def test_a_request_that_waits_too_long_is_told_when_to_come_back() -> None:
    async with staged(hold=0.1) as stage:
        stage.show(model_service(minimum=0))
        answer = await stage.ask()
        assert (answer.status, answer.header("Retry-After")) == (503, "30")
        assert answer.sentence == "No replica of service team/llm was ready within 0.1 s."
        assert stage.figures.of("refused_total", reason="HoldTimeout") == 1
        assert stage.figures.of("requests_total", service_name="llm", track="none", code="503") == 1


async def test_a_service_says_itself_how_long_its_requests_wait_and_why_it_is_not_ready() -> None:
    async with staged() as stage:
        service = model_service(minimum=0, inference={"scaling": {"scaleToZero": {"holdTimeoutSeconds": 1}}})
        service["status"]["conditions"] = [{"type": "Ready", "status": "False", "reason": "BudgetDenied"}]
        stage.show(service)
        answer = await stage.ask()
        assert answer.sentence == "No replica of service team/llm was ready within 1 s (Ready: BudgetDenied)."


async def test_beyond_the_queue_requests_are_refused_at_once() -> None:
    async with staged(held=3) as stage:
        await stage.replica(A)
        stage.show(model_service(minimum=0))
        asked = [asyncio.create_task(stage.ask()) for _ in range(3)]
        await until("three to be held", lambda: held(stage) == 3)
        answer = await stage.ask()
        assert (answer.status, answer.header("Retry-After")) == (429, "10")
        assert answer.sentence == "3 requests wait for service team/llm already."
        stage.ready(A)
        assert [one.status for one in await asyncio.gather(*asked)] == [200] * 3


async def test_a_client_that_goes_leaves_the_queue() -> None:
    async with staged(held=1) as stage:
        await stage.replica(A)
        stage.show(model_service(minimum=0))
        _, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(b"POST /v2/models/m/infer HTTP/1.1\r\nHost: llm.team\r\nContent-Length: 2\r\n\r\n{}")
        await until("it to be held", lambda: held(stage) == 1)
        writer.close()
        await until("it to be gone", lambda: held(stage) == 0)
        asked = asyncio.create_task(stage.ask())
        await until("another to be held", lambda: held(stage) == 1)
        stage.ready(A)
        assert (await asked).status == 200


async def test_a_service_that_is_suspended_or_deleted_lets_nobody_wait() -> None:
    async with staged() as stage:
        stage.show(model_service(minimum=0))
        asked = asyncio.create_task(stage.ask())
        await until("it to be held", lambda: held(stage) == 1)
        stage.show(model_service(minimum=0, suspend=True))
        answer = await asked
        assert (answer.status, answer.sentence) == (503, "Service team/llm is suspended.")
        assert (await stage.ask()).sentence == "Service team/llm is suspended."
        stage.show(model_service(minimum=0))
        asked = asyncio.create_task(stage.ask())
        await until("it to be held", lambda: held(stage) == 1)
        stage.show(model_service(minimum=0), "DELETED")
        answer = await asked
        assert (answer.status, answer.sentence) == (404, "Service team/llm was deleted.")


async def test_a_service_that_only_trains_is_not_found() -> None:
    async with staged() as stage:
        service = model_service()
        service["spec"] = {"training": {}}
        stage.show(service)
        answer = await stage.ask()
        assert (answer.status, answer.sentence) == (404, "Service team/llm only trains.")


async def test_bodies_of_held_requests_are_bounded_together() -> None:
    async with staged(kept_total_bytes=1000) as stage:
        await stage.replica(A)
        stage.show(model_service(minimum=0))
        asked = asyncio.create_task(stage.ask(body=b"x" * 900))
        await until("it to be held", lambda: held(stage) == 1)
        answer = await stage.ask(body=b"x" * 200)
        assert (answer.status, answer.header("Retry-After")) == (503, "1")
        stage.ready(A)
        assert (await asked).status == 200
        assert (await stage.ask(body=b"x" * 200)).status == 200


async def test_a_drain_lets_held_requests_finish_and_refuses_the_rest_at_its_end() -> None:
    async with staged() as stage:
        await stage.replica(A)
        stage.show(model_service(minimum=0))
        stage.show(model_service("other", minimum=0))
        asked = asyncio.create_task(stage.ask())
        lost = asyncio.create_task(stage.ask(host="other.team"))
        await until("it to be held", lambda: len(stage.operator.patches) == 2)
        draining = asyncio.create_task(stage.gateway.drain(0.0, most=0.5))
        await asyncio.sleep(0)
        stage.ready(A)
        answer = await asked
        assert (answer.status, answer.header("Connection")) == (200, "close")
        answer = await lost
        assert (answer.status, answer.header("Retry-After")) == (503, "1")
        await draining
        with pytest.raises(ConnectionError):
            await stage.ask()


async def test_a_drain_takes_requests_until_its_delay_is_over_and_ends_idle_connections() -> None:
    async with staged() as stage:
        await stage.replica(A)
        stage.show(model_service())
        stage.ready(A)
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        draining = asyncio.create_task(stage.gateway.drain(0.3, most=5))
        await asyncio.sleep(0)
        answer = await stage.ask()
        assert (answer.status, answer.header("Connection")) == (200, "close")
        assert not draining.done()
        assert await reader.read() == b""
        await draining
        writer.close()
