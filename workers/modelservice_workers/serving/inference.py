"""Inference requests from their arrival to their answer, in callbacks: every microsecond here is paid per request."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

from modelservice_workers.common.datatypes import Array
from modelservice_workers.serving.batcher import QueueFullError, Ticket, Timings
from modelservice_workers.serving.execution import Failure, Outcome
from modelservice_workers.serving.http.encoding import (
    ENCODINGS,
    BadBodyError,
    BodyTooLargeError,
    UnknownEncodingError,
    decode_body,
)
from modelservice_workers.serving.http.messages import Exchange, Reply
from modelservice_workers.serving.oip.errors import RefusedError, RequestError
from modelservice_workers.serving.oip.request import InferenceRequest, parse_request
from modelservice_workers.serving.oip.response import render_error, render_response
from modelservice_workers.serving.state import ServedModel, ServerState

_CLIENT_CLOSED_REQUEST: Final = 499

_log = logging.getLogger(__name__)


class Call(ABC):
    """One inference request; subclasses know its protocol.

    The request is refused, or queued with `inputs`, and its outcome rendered; all of it is counted.
    """

    __slots__ = ("_exchange", "_ticket", "model", "started", "state")

    model: ServedModel

    def __init__(self, state: ServerState, exchange: Exchange) -> None:
        self.state = state
        self._exchange = exchange
        self._ticket: Ticket | None = None
        self.started = time.perf_counter()

    def begin(self) -> None:
        """Answer now, or once the model has computed."""
        state, exchange = self.state, self._exchange
        state.open_requests += 1
        try:
            if exchange.too_large:
                raise self._too_large()
            began = time.perf_counter()
            if b"content-encoding" in exchange.headers:
                exchange.body = self._decode(exchange.body, exchange.headers[b"content-encoding"])
            inputs, timeout = self.read(exchange)
            state.metrics.preprocess.observe(time.perf_counter() - began)
            self._ticket = self.model.batcher.submit(
                inputs,
                self._finish,
                state.request_timeout_seconds if timeout is None else min(timeout, state.request_timeout_seconds),
                exact=timeout is not None,
            )
            exchange.on_gone = self._leave
        except RequestError as error:
            self._refuse(error)
        except QueueFullError:
            self._refuse(RefusedError(429, "The queue of this server is full; try again in a second.", "QueueFull"))

    @abstractmethod
    def read(self, exchange: Exchange) -> tuple[list[Array], float | None]:
        """Set `model`; the model's inputs and the request's own time-out in seconds. Raises RequestError."""

    @abstractmethod
    def render(self, outputs: Sequence[Array]) -> Reply:
        """The answer; raises RequestError."""

    def render_refusal(self, error: RequestError) -> Reply:
        """The answer to a request that is refused."""
        return render_error(error)

    def _decode(self, body: bytes, encoding: bytes) -> bytes:
        try:
            return decode_body(body, encoding, self.state.max_body_bytes)
        except UnknownEncodingError:
            raise RequestError(415, f"The body may be encoded with {' or '.join(ENCODINGS)} only.") from None
        except BadBodyError:
            raise RequestError(400, "The body is not what its content-encoding says.") from None
        except BodyTooLargeError:
            raise self._too_large() from None

    def _too_large(self) -> RefusedError:
        limit = self.state.max_body_bytes
        return RefusedError(413, f"The body is larger than {limit} bytes; send fewer rows at a time.", "BodyTooLarge")

    def _finish(self, outcome: Outcome, timings: Timings) -> None:
        metrics = self.state.metrics
        metrics.queue.observe(timings.queue_seconds)
        metrics.predict.observe(timings.predict_seconds)
        if isinstance(outcome, Failure):
            self._refuse(RequestError(outcome.status, outcome.message))
            return
        began = time.perf_counter()
        try:
            reply = self.render(outcome)
        except RequestError as error:
            self._refuse(error)
            return
        except Exception:  # noqa: BLE001 - the other requests of the batch wait for their answers behind this one
            _log.exception("An answer could not be rendered")
            self._refuse(RequestError(500, "The model gave what is no answer to this request; the log says more."))
            return
        metrics.postprocess.observe(time.perf_counter() - began)
        self._answer(reply)

    def _refuse(self, error: RequestError) -> None:
        if isinstance(error, RefusedError):
            self.state.metrics.count_rejected(error.reason)
        self._answer(self.render_refusal(error))

    def _answer(self, reply: Reply) -> None:
        self.state.open_requests -= 1
        self._exchange.reply(reply)
        metrics = self.state.metrics
        metrics.count(reply.status)
        metrics.duration.observe(time.perf_counter() - self.started)

    def _leave(self) -> None:
        self.state.open_requests -= 1
        if self._ticket is not None:
            self.model.batcher.cancel(self._ticket)
        self.state.metrics.count(_CLIENT_CLOSED_REQUEST)


class InferCall(Call):
    """POST /v2/models/{model}/infer."""

    __slots__ = ("_name", "_request", "_version")

    _request: InferenceRequest

    def __init__(self, state: ServerState, exchange: Exchange, name: str, version: str | None) -> None:
        super().__init__(state, exchange)
        self._name = name
        self._version = version

    def read(self, exchange: Exchange) -> tuple[list[Array], float | None]:
        """As in Call."""
        self.model = self.state.find_model(self._name, self._version)
        length = exchange.headers.get(b"inference-header-content-length")
        self._request = request = parse_request(exchange.body, length, self.model.signature)
        return request.inputs, request.timeout_seconds

    def render(self, outputs: Sequence[Array]) -> Reply:
        """As in Call."""
        model = self.model
        return render_response(
            self.state.model_name, model.info.version, self._request, model.signature.outputs, outputs
        )
