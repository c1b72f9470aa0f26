"""Exported models that several tests share; exporting takes seconds."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def linear_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .pt2 file of y = 2x + 1."""
    from tests.unit.workers.models import export_linear  # noqa: PLC0415 - most tests need no torch

    return export_linear(tmp_path_factory.mktemp("models") / "linear.pt2")
