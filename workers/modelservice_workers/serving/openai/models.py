"""GET /v1/models."""

from __future__ import annotations

from typing import Any

import orjson

from modelservice_workers.serving.http.messages import Reply
from modelservice_workers.serving.oip.errors import RequestError
from modelservice_workers.serving.state import ServerState


def list_models(state: ServerState) -> Reply:
    """The one model, once it is loaded."""
    data = [] if state.model is None else [_describe(state)]
    return Reply(200, orjson.dumps({"object": "list", "data": data}))


def retrieve_model(state: ServerState, name: str) -> Reply:
    """The model of this name, or an error in OpenAI's form."""
    try:
        state.find_model(name, None)
    except RequestError as error:
        return render_openai_error(error)
    return Reply(200, orjson.dumps(_describe(state)))


def render_openai_error(error: RequestError) -> Reply:
    """A refusal as OpenAI's clients read it."""
    kind = "server_error" if error.status >= 500 else "invalid_request_error"  # noqa: PLR2004 - HTTP's classes
    code = "model_not_found" if error.status == 404 else None  # noqa: PLR2004
    document = {"error": {"message": error.message, "type": kind, "param": None, "code": code}}
    return Reply(error.status, orjson.dumps(document), headers=error.headers)


def _describe(state: ServerState) -> dict[str, Any]:
    created = 0 if state.model is None else state.model.loaded_at
    return {"id": state.model_name, "object": "model", "created": created, "owned_by": "modelservice"}
