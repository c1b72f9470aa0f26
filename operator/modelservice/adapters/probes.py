"""The small HTTP server for the kubelet and Prometheus: /healthz, /readyz, /metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8; escaping=underscores"

Problems = Callable[[], list[str]]


class CannotListen(Exception):
    """The port is taken or not allowed; the message says so."""


class ProbeServer:
    """Answers probes with 200, or with 503 and the problems one a line."""

    def __init__(self, *, healthy: Problems, ready: Problems, metrics: Callable[[], bytes]) -> None:
        app = web.Application()
        app.router.add_get("/healthz", _probe(healthy))
        app.router.add_get("/readyz", _probe(ready))

        async def show(_: web.Request) -> web.Response:
            return web.Response(body=metrics(), headers={"Content-Type": CONTENT_TYPE})

        app.router.add_get("/metrics", show)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port; raises CannotListen when it is taken."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            why = f"{host}:{port} cannot be listened on ({error.strerror}); set MODELSERVICE_HTTP_PORT."
            raise CannotListen(why) from error
        bound: int = self._runner.addresses[0][1]
        return bound

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()


def _probe(problems: Problems) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        found = problems()
        return web.Response(status=503 if found else 200, text="\n".join(found or ["ok"]) + "\n")

    return answer
