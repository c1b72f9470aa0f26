"""The bench's model behind BentoML. Environment: MODEL, BATCHING (0: none, else its own adaptive batches)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import bentoml
import numpy as np
import torch
from benchmodels import dtype_of, load_eager

BATCHED = os.environ["BATCHING"] != "0"


@bentoml.service(workers=1, threads=1, traffic={"timeout": 60}, metrics={"enabled": False})
class Peer:
    """BentoML learns how long to wait for a batch; it is told no bound that would make it refuse requests."""

    def __init__(self) -> None:
        self.model = load_eager(os.environ["MODEL"])
        self.dtype = dtype_of(os.environ["MODEL"])

    @bentoml.api(route="/predict", batchable=BATCHED, max_batch_size=64, max_latency_ms=60_000)
    def predict(self, data: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            result: Any = self.model(torch.as_tensor(data, dtype=self.dtype)).numpy()
        return result
