"""The HTTP routes."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from modelservice_workers import __version__
from modelservice_workers.serving.inference import InferenceRoute
from modelservice_workers.serving.state import ServedModel, ServerState

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def build_app(state: ServerState) -> Starlette:
    """Routes of the Open Inference Protocol and /metrics over `state`."""
    routes = _Routes(state)
    inference = InferenceRoute(state)
    model = "/v2/models/{model}"
    version = model + "/versions/{version}"
    return Starlette(
        routes=[
            Route(model + "/infer", inference, methods=["POST"]),
            Route(version + "/infer", inference, methods=["POST"]),
            Route("/v2/health/live", routes.live),
            Route("/v2/health/ready", routes.ready),
            Route("/metrics", routes.metrics),
            Route("/v2", routes.server),
            Route(model, routes.model),
            Route(version, routes.model),
            Route(model + "/ready", routes.model_ready),
            Route(version + "/ready", routes.model_ready),
        ],
        exception_handlers={HTTPException: _render_http_error},
    )


class _Routes:
    def __init__(self, state: ServerState) -> None:
        self._state = state

    async def live(self, _request: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(self, _request: Request) -> Response:
        ready = self._state.ready
        return JSONResponse({"ready": ready}, status_code=200 if ready else 503)

    async def metrics(self, _request: Request) -> Response:
        return Response(self._state.metrics.render(), headers={"content-type": _METRICS_TYPE})

    async def server(self, _request: Request) -> Response:
        return JSONResponse({"name": "modelservice", "version": __version__, "extensions": []})

    async def model(self, request: Request) -> Response:
        model = self._find(request)
        document: dict[str, Any] = {
            "name": self._state.model_name,
            "versions": [model.info.version],
            "platform": model.info.platform,
            **model.signature.to_json(),
        }
        return JSONResponse(document)

    async def model_ready(self, request: Request) -> Response:
        self._find(request)
        ready = self._state.ready
        return JSONResponse({"name": self._state.model_name, "ready": ready}, status_code=200 if ready else 503)

    def _find(self, request: Request) -> ServedModel:
        name, version = request.path_params["model"], request.path_params.get("version")
        state = self._state
        if name != state.model_name:
            raise HTTPException(404, f"There is no model {name} here; this server has {state.model_name}.")
        if state.model is None:
            raise HTTPException(503, f"Model {name} is still loading; try again soon.", {"retry-after": "1"})
        if version is not None and version != state.model.info.version:
            raise HTTPException(404, f"Model {name} has no version {version}; it has {state.model.info.version}.")
        return state.model


async def _render_http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    detail = error.detail
    if detail == HTTPStatus(error.status_code).phrase:
        detail = f"{request.method} {request.url.path} is not a route of this server ({detail})."
    return JSONResponse({"error": detail}, status_code=error.status_code, headers=error.headers)
