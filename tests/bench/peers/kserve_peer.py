"""The bench's model behind KServe's SDK, which does not batch in its process. Environment: MODEL, PORT."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from benchmodels import load_eager
from kserve import InferOutput, InferResponse, Model, ModelServer


class Peer(Model):
    """One forward pass a request."""

    def __init__(self) -> None:
        super().__init__("m")
        self.model = load_eager(os.environ["MODEL"])
        self.ready = True

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> InferResponse:
        del headers, response_headers
        with torch.inference_mode():
            result = self.model(torch.from_numpy(payload.inputs[0].as_numpy()))
        output = InferOutput("output", list(result.shape), "FP32", data=result.flatten().tolist())
        return InferResponse(payload.id or "none", "m", infer_outputs=[output])


if __name__ == "__main__":
    ModelServer(http_port=int(os.environ["PORT"]), workers=1, enable_grpc=False, access_log_format=None).start([Peer()])
