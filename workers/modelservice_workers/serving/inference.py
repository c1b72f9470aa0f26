"""The inference route, written against ASGI because every microsecond here is paid per request."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from starlette.types import Receive, Scope, Send

from modelservice_workers.serving.batcher import Answer, QueueFullError
from modelservice_workers.serving.execution import Failure
from modelservice_workers.serving.protocol import RequestError, parse_request, render_error, render_response
from modelservice_workers.serving.state import Phase, ServedModel, ServerState

# A request that waits longer than this is watched for its client going away; shorter waits cost less than a watch.
_WATCH_AFTER_SECONDS: Final = 0.05

_OK: Final = 200
_CLIENT_CLOSED_REQUEST: Final = 499
_TOO_LARGE: Final = 413
_TRY_AGAIN: Final = (429, 503)


class RefusedError(RequestError):
    """A request that was turned away for a `reason` that metrics count."""

    def __init__(self, status: int, message: str, reason: str) -> None:
        super().__init__(status, message)
        self.reason = reason


class ClientGoneError(Exception):
    """The client closed its connection before it had an answer."""


class InferenceRoute:
    """POST /v2/models/{model}/infer as an ASGI application."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._metrics = state.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        state = self._state
        started = time.perf_counter()
        state.open_requests += 1
        try:
            status, body = await self._answer(scope, receive)
        except ClientGoneError:
            self._metrics.count(_CLIENT_CLOSED_REQUEST)
            return
        finally:
            state.open_requests -= 1
        await send({"type": "http.response.start", "status": status, "headers": self._headers(status, body)})
        await send({"type": "http.response.body", "body": body})
        self._metrics.count(status)
        self._metrics.duration.observe(time.perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, bytes]:
        try:
            model = self._find_model(scope)
            body = await self._read_body(scope, receive)
            return await self._infer(model, body, receive)
        except RefusedError as error:
            self._metrics.count_rejected(error.reason)
            return error.status, render_error(error.message)
        except RequestError as error:
            return error.status, render_error(error.message)

    def _find_model(self, scope: Scope) -> ServedModel:
        state = self._state
        parameters = scope["path_params"]
        if parameters["model"] != state.model_name:
            raise RequestError(
                404, f"There is no model {parameters['model']} here; this server has {state.model_name}."
            )
        if state.model is None:
            raise RefusedError(503, f"Model {state.model_name} is still loading; try again soon.", "NotReady")
        version = parameters.get("version")
        if version is not None and version != state.model.info.version:
            raise RequestError(
                404, f"Model {state.model_name} has no version {version}; this server has {state.model.info.version}."
            )
        return state.model

    async def _read_body(self, scope: Scope, receive: Receive) -> bytes:
        limit = self._state.max_body_bytes
        for name, value in scope["headers"]:
            if name == b"content-length" and int(value) > limit:
                raise self._too_large()
            if name == b"inference-header-content-length":
                raise RequestError(501, "The binary tensor extension is not implemented; send the tensors as JSON.")
            if name == b"content-encoding" and value != b"identity":
                raise RequestError(415, "Compressed bodies are not implemented; send the body as it is.")
        chunks = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise self._too_large()
            chunks.append(chunk)
            if not message.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _too_large(self) -> RefusedError:
        limit = self._state.max_body_bytes
        return RefusedError(
            _TOO_LARGE, f"The body is larger than {limit} bytes; send fewer rows at a time.", "BodyTooLarge"
        )

    async def _infer(self, model: ServedModel, body: bytes, receive: Receive) -> tuple[int, bytes]:
        metrics = self._metrics
        started = time.perf_counter()
        request = parse_request(body, model.signature)
        metrics.preprocess.observe(time.perf_counter() - started)
        try:
            answer = model.batcher.submit(request.inputs)
        except QueueFullError:
            raise RefusedError(429, "The queue of this server is full; try again in a second.", "QueueFull") from None
        outcome, timings = await self._wait(model, answer, receive)
        metrics.queue.observe(timings.queue_seconds)
        metrics.predict.observe(timings.predict_seconds)
        if isinstance(outcome, Failure):
            raise RequestError(outcome.status, outcome.message)
        started = time.perf_counter()
        rendered = render_response(
            self._state.model_name, model.info.version, request, model.signature.outputs, outcome
        )
        metrics.postprocess.observe(time.perf_counter() - started)
        return _OK, rendered

    async def _wait(self, model: ServedModel, answer: asyncio.Future[Answer], receive: Receive) -> Answer:
        watch: asyncio.Task[None] | None = None

        async def cancel_when_gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            model.batcher.cancel(answer)

        def start_watch() -> None:
            nonlocal watch
            watch = asyncio.get_running_loop().create_task(cancel_when_gone())

        timer = asyncio.get_running_loop().call_later(_WATCH_AFTER_SECONDS, start_watch)
        try:
            return await answer
        except asyncio.CancelledError:
            if watch is not None and watch.done():
                raise ClientGoneError from None
            model.batcher.cancel(answer)
            raise
        finally:
            timer.cancel()
            if watch is not None:
                watch.cancel()

    def _headers(self, status: int, body: bytes) -> list[tuple[bytes, bytes]]:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        if status in _TRY_AGAIN:
            headers.append((b"retry-after", b"1"))
        # Only after an answer, when the body has been read: closing on unread bytes would reset the connection.
        if self._state.phase is Phase.DRAINING and status == _OK:
            headers.append((b"connection", b"close"))
        return headers
