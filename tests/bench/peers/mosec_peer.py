"""The bench's model behind mosec. Environment: MODEL, BATCHING (milliseconds, 0: none), MOSEC_PORT."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import orjson
import torch
from benchmodels import dtype_of, load_eager
from mosec import Server, Worker

WINDOW_MS = int(os.environ["BATCHING"])


class Model(Worker):
    """Batches of what mosec collected, or single requests."""

    def __init__(self) -> None:
        super().__init__()
        self.model = load_eager(os.environ["MODEL"])
        self.dtype = dtype_of(os.environ["MODEL"])

    def deserialize(self, data: bytes) -> Any:
        return orjson.loads(data)["inputs"][0]["data"]

    def serialize(self, data: Any) -> bytes:
        return orjson.dumps(
            {"outputs": [{"name": "output", "datatype": "FP32", "shape": data.shape, "data": data.ravel()}]},
            option=orjson.OPT_SERIALIZE_NUMPY,
        )

    def forward(self, data: Any) -> Any:
        rows = [data] if WINDOW_MS == 0 else data
        with torch.inference_mode():
            outputs = self.model(torch.tensor(rows, dtype=self.dtype)).numpy()
        return outputs if WINDOW_MS == 0 else list(outputs)


if __name__ == "__main__":
    server = Server()
    if WINDOW_MS == 0:
        server.append_worker(Model, num=1)
    else:
        server.append_worker(Model, num=1, max_batch_size=64, max_wait_time=WINDOW_MS)
    server.run()
