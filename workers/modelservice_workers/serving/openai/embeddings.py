"""POST /v1/embeddings."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import orjson

from modelservice_workers.common.datatypes import Array, is_finite
from modelservice_workers.serving.http.messages import Exchange, Reply
from modelservice_workers.serving.inference import Call
from modelservice_workers.serving.oip.errors import RequestError
from modelservice_workers.serving.openai.models import render_openai_error

MOST_TEXTS: Final = 2048

_EMBEDDING: Final = "embedding"
_ENCODINGS: Final = ("float", "base64")


class EmbeddingCall(Call):
    """One request for embeddings; the model takes its texts as one tensor of BYTES."""

    __slots__ = ("_base64",)

    _base64: bool

    def read(self, exchange: Exchange) -> tuple[list[Array], float | None]:
        """As in Call."""
        try:
            document = orjson.loads(exchange.body)
        except orjson.JSONDecodeError as error:
            raise RequestError(400, f"The body is not valid JSON: {error}.") from None
        if type(document) is not dict or type(document.get("model")) is not str:
            raise RequestError(400, "The body must be a JSON object with a model and an input.")
        self.model = model = self.state.find_model(document["model"], None)
        if model.info.task != _EMBEDDING:
            raise RequestError(400, f"Model {self.state.model_name} does not make embeddings; use its /v2 routes.")
        encoding = document.get("encoding_format", "float")
        if encoding not in _ENCODINGS:
            raise RequestError(400, f"The encoding_format must be {' or '.join(_ENCODINGS)}.")
        self._base64 = encoding == "base64"
        size = model.signature.outputs[0].shape[1]
        if document.get("dimensions") not in (None, size):
            raise RequestError(400, f"The embeddings of this model have {size} dimensions and cannot be shortened.")
        return [_read_texts(document.get("input"))], None

    def render(self, outputs: Sequence[Array]) -> Reply:
        """As in Call."""
        embeddings, tokens = outputs[0].astype("<f4"), int(outputs[1].sum())
        if not is_finite(embeddings, "FP32"):
            raise RequestError(422, "An embedding is not finite (NaN or infinite) for this input.")
        data = [
            {"object": "embedding", "index": index, "embedding": self._encode(row)}
            for index, row in enumerate(embeddings)
        ]
        document = {
            "object": "list",
            "data": data,
            "model": self.state.model_name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        return Reply(200, orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY))

    def render_refusal(self, error: RequestError) -> Reply:
        """As in Call."""
        return render_openai_error(error)

    def _encode(self, row: Array) -> Any:
        return base64.b64encode(row.tobytes()).decode() if self._base64 else row


def _read_texts(given: object) -> Array:
    texts = [given] if type(given) is str else given
    if type(texts) is not list or not texts:
        raise RequestError(400, "The input must be a text or a list of texts.")
    if len(texts) > MOST_TEXTS:
        raise RequestError(400, f"The input has {len(texts)} texts; send at most {MOST_TEXTS} at a time.")
    if not all(type(text) is str and text for text in texts):
        raise RequestError(400, "The input must hold texts that are not empty; token numbers are not taken.")
    array = np.empty(len(texts), np.object_)
    array[:] = [text.encode() for text in texts]
    return array
