"""Small torch models, exported for tests."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from modelservice_workers.common.artifacts import EXPORT_FORMAT, MANIFEST_NAME, MODEL_NAME, Manifest, file_digest
from modelservice_workers.common.program import load_program
from torch import nn
from torch.export import Dim


class Linear(nn.Module):
    """y = 2x + 1 for x FP32 [-1, 2], given as a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([2.0, 2.0]))
        self.shift = nn.Buffer(torch.ones(2), persistent=False)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"y": x * self.scale + self.shift}


class Bounded(Linear):
    """The same for numbers below 25; it fails on others."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        torch._assert_async((x.abs() < 25).all(), "numbers are below 25")
        return super().forward(x)


class Log(nn.Module):
    """y = log(x)."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"y": torch.log(x)}


ROWS = ({0: Dim("rows")},)


def export(model: nn.Module, example: tuple[Any, ...], path: Path, shapes: Any = ROWS) -> Path:
    """Write a .pt2 file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(model.eval(), example, dynamic_shapes=shapes)
        torch.export.save(program, path)
    return path


def export_linear(path: Path) -> Path:
    return export(Linear(), (torch.ones(2, 2),), path)


def make_artifact(directory: Path, model: Path, **lineage: str) -> Path:
    """A published artifact with the bytes of `model`."""
    directory.mkdir()
    (directory / MODEL_NAME).write_bytes(model.read_bytes())
    digests = {MODEL_NAME: file_digest(model)}
    manifest = Manifest(EXPORT_FORMAT, load_program(model).signature, digests, lineage)
    (directory / MANIFEST_NAME).write_bytes(manifest.to_bytes())
    return directory
