"""The bench's model behind LitServe. Environment: MODEL, BATCHING (milliseconds, 0: no batching), PORT."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import litserve
import torch
from benchmodels import dtype_of, load_eager

WINDOW_MS = int(os.environ["BATCHING"])


class Peer(litserve.LitAPI):
    """Batches of what LitServe collected, or single requests."""

    def setup(self, device: str) -> None:
        del device
        self.model = load_eager(os.environ["MODEL"])
        self.dtype = dtype_of(os.environ["MODEL"])

    def decode_request(self, request):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201 - it would read them
        return request["inputs"][0]["data"]

    def batch(self, inputs: Any) -> Any:
        return inputs

    def unbatch(self, output: Any) -> Any:
        return output

    def predict(self, x: Any) -> Any:
        with torch.inference_mode():
            rows = torch.tensor(x if WINDOW_MS else [x], dtype=self.dtype)
            outputs = self.model(rows).tolist()
        return outputs if WINDOW_MS else outputs[0]

    def encode_response(self, output):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
        return {"outputs": [{"name": "output", "datatype": "FP32", "shape": [1, len(output)], "data": output}]}


if __name__ == "__main__":
    api = Peer(max_batch_size=64, batch_timeout=WINDOW_MS / 1000) if WINDOW_MS else Peer()
    litserve.LitServer(api, accelerator="cpu", timeout=60).run(
        host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning", generate_client_file=False
    )
