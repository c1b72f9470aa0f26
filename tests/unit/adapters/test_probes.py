import aiohttp
import pytest
from modelservice.adapters.probes import CannotListen, ProbeServer


async def get(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


async def test_probes_answer_what_is_wrong_and_metrics_are_shown() -> None:
    ill: list[str] = []
    server = ProbeServer(healthy=lambda: ill, ready=lambda: ["Not listed yet: Pod."], metrics=lambda: b"a 1\n")
    port = await server.start("127.0.0.1", 0)
    try:
        assert await get(port, "/healthz") == (200, "ok\n")
        assert await get(port, "/readyz") == (503, "Not listed yet: Pod.\n")
        assert await get(port, "/metrics") == (200, "a 1\n")
        ill += ["One.", "Two."]
        assert await get(port, "/healthz") == (503, "One.\nTwo.\n")
        assert (await get(port, "/other"))[0] == 404
    finally:
        await server.stop()


async def test_a_taken_port_is_an_error_at_the_start() -> None:
    first = ProbeServer(healthy=list, ready=list, metrics=bytes)
    second = ProbeServer(healthy=list, ready=list, metrics=bytes)
    port = await first.start("127.0.0.1", 0)
    try:
        with pytest.raises(CannotListen, match="set MODELSERVICE_HTTP_PORT"):
            await second.start("127.0.0.1", port)
    finally:
        await second.stop()
        await first.stop()
