"""The models of the serving bench: a small network and an encoder of 20 million parameters, as .pt2 files.

    .venv-workers/bin/python tests/bench/benchmodels.py DIRECTORY

Peers read the same files, into plain modules.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch
from torch import nn
from torch.export import Dim

FEATURES = 10
LENGTH = 32
WORDS = 16_000


class Mlp(nn.Sequential):
    """10 to 20 to 10: 430 parameters."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(FEATURES, 20), nn.ReLU(), nn.Linear(20, FEATURES))


class Encoder(nn.Module):
    """8 layers of width 384 over 32 tokens, their mean at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 384)
        self.places = nn.Parameter(torch.zeros(LENGTH, 384))
        layer = nn.TransformerEncoderLayer(384, 6, 1536, dropout=0, batch_first=True, activation="gelu")
        self.layers = nn.TransformerEncoder(layer, 8, enable_nested_tensor=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.layers(self.words(ids) + self.places)
        return hidden.mean(1)


MODELS = {"mlp": (Mlp, torch.zeros(2, FEATURES)), "encoder": (Encoder, torch.zeros(2, LENGTH, dtype=torch.int64))}


def write_models(directory: Path) -> None:
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    for name, (kind, example) in MODELS.items():
        program = torch.export.export(kind().eval(), (example,), dynamic_shapes=({0: Dim("rows")},))
        torch.export.save(program, directory / f"{name}.pt2")


def load_eager(path: str) -> nn.Module:
    """The module of a file that write_models wrote; one thread, no gradients."""
    torch.set_num_threads(1)
    kind, _ = MODELS[Path(path).stem]
    model = kind().eval()
    model.load_state_dict(torch.export.load(path).state_dict)
    return model.requires_grad_(requires_grad=False)


def dtype_of(path: str) -> torch.dtype:
    return MODELS[Path(path).stem][1].dtype


if __name__ == "__main__":
    write_models(Path(sys.argv[1]))
