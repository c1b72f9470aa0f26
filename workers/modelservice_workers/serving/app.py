"""The HTTP routes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import orjson

from modelservice_workers import __version__
from modelservice_workers.serving.http.messages import BadTargetError, Exchange, Reply, split_target
from modelservice_workers.serving.inference import InferCall
from modelservice_workers.serving.oip.errors import RequestError
from modelservice_workers.serving.oip.response import render_error
from modelservice_workers.serving.openai.embeddings import EmbeddingCall
from modelservice_workers.serving.openai.models import list_models, retrieve_model
from modelservice_workers.serving.state import ServerState

EXTENSIONS: Final = ("binary_tensor_data",)

_METRICS_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
_READING: Final = frozenset({b"GET", b"HEAD"})

_log = logging.getLogger(__name__)


class App:
    """Routes of the Open Inference Protocol and /metrics over `state`."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    def handle(self, exchange: Exchange) -> None:
        """Answer a request, now or once the model has computed."""
        try:
            self._route(exchange)
        except RequestError as error:
            exchange.reply(render_error(error))
        except Exception:  # noqa: BLE001 - a fault of ours must not leave a client without an answer
            _log.exception("A route failed")
            exchange.reply(render_error(RequestError(500, "The server failed on this request; its log says more.")))

    def _route(self, exchange: Exchange) -> None:
        try:
            parts = split_target(exchange.target)
        except BadTargetError:
            raise RequestError(400, "The path of the request is not valid.") from None
        match parts:
            case ("v2", "models", name, "infer"):
                self._infer(exchange, name, None)
            case ("v2", "models", name, "versions", version, "infer"):
                self._infer(exchange, name, version)
            case ("v1", "embeddings"):
                if exchange.method != b"POST":
                    raise _wrong_method(exchange, b"POST")
                EmbeddingCall(self._state, exchange).begin()
            case _ if exchange.too_large:
                raise RequestError(413, "The body is too large for this route.")
            case _:
                self._answer_reading(exchange, parts)

    def _infer(self, exchange: Exchange, name: str, version: str | None) -> None:
        if exchange.method != b"POST":
            raise _wrong_method(exchange, b"POST")
        InferCall(self._state, exchange, name, version).begin()

    def _answer_reading(self, exchange: Exchange, parts: tuple[str, ...]) -> None:
        reply = self._read(parts)
        if reply is None:
            raise RequestError(404, f"{_describe(exchange)} is not a route of this server.")
        if exchange.method not in _READING:
            raise _wrong_method(exchange, b"GET, HEAD")
        exchange.reply(reply)

    def _read(self, parts: tuple[str, ...]) -> Reply | None:
        match parts:
            case ("v2",):
                return _json({"name": "modelservice", "version": __version__, "extensions": EXTENSIONS})
            case ("v2", "health", "live"):
                return _json({"live": True})
            case ("v2", "health", "ready"):
                return _json({"ready": self._state.ready}, 200 if self._state.ready else 503)
            case ("v2", "models", name, *rest):
                return self._read_model(name, rest)
            case ("v1", "models"):
                return list_models(self._state)
            case ("v1", "models", name):
                return retrieve_model(self._state, name)
            case ("metrics",):
                return Reply(200, self._state.metrics.render(), _METRICS_TYPE)
            case _:
                return None

    def _read_model(self, name: str, rest: list[str]) -> Reply | None:
        match rest:
            case []:
                return self._describe_model(name, None)
            case ["versions", version]:
                return self._describe_model(name, version)
            case ["ready"]:
                return self._model_ready(name, None)
            case ["versions", version, "ready"]:
                return self._model_ready(name, version)
            case _:
                return None

    def _describe_model(self, name: str, version: str | None) -> Reply:
        model = self._state.find_model(name, version)
        document = {
            "name": self._state.model_name,
            "versions": [model.info.version],
            "platform": model.info.platform,
            **model.signature.to_json(),
        }
        return _json(document)

    def _model_ready(self, name: str, version: str | None) -> Reply:
        self._state.find_model(name, version)
        ready = self._state.ready
        return _json({"name": self._state.model_name, "ready": ready}, 200 if ready else 503)


def refuse(status: int, message: str) -> Reply:
    """The answer to bytes that are no request."""
    return render_error(RequestError(status, message))


def _wrong_method(exchange: Exchange, allowed: bytes) -> RequestError:
    message = f"{_describe(exchange)} is not possible; the method must be {allowed.decode()}."
    return RequestError(405, message, ((b"allow", allowed),))


def _describe(exchange: Exchange) -> str:
    return f"{exchange.method.decode('latin-1')} {exchange.target.decode('latin-1')[:200]}"


def _json(document: Mapping[str, Any], status: int = 200) -> Reply:
    return Reply(status, orjson.dumps(document))
