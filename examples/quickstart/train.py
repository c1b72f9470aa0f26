"""Trains a 10-20-10 network to give back its input, and exports it.

A plain script: it runs anywhere with `python train.py` and knows nothing of Kubernetes.
"""

import json
import os
from pathlib import Path

import torch
from torch import nn

EPOCHS = 10
BATCH = 128
ROWS = 10_000
FEATURES = 10


def build_network() -> nn.Sequential:
    """The network: 430 parameters."""
    return nn.Sequential(nn.Linear(FEATURES, 20), nn.ReLU(), nn.Linear(20, FEATURES))


def train(network: nn.Module, rows: torch.Tensor) -> float:
    """Train for EPOCHS epochs and return the mean loss of the last one."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    measure = nn.MSELoss()
    mean = 0.0
    for epoch in range(1, EPOCHS + 1):
        total = 0.0
        for batch in rows[torch.randperm(len(rows))].split(BATCH):
            optimizer.zero_grad()
            loss = measure(network(batch), batch)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        mean = total / len(rows)
        print(f"epoch {epoch}/{EPOCHS} loss {mean:.4f}", flush=True)
    return mean


def export(network: nn.Module, loss: float, directory: Path) -> None:
    """Write model.pt2, which takes any number of rows, and metrics.json."""
    directory.mkdir(parents=True, exist_ok=True)
    example = torch.zeros(2, FEATURES)
    program = torch.export.export(network.eval(), (example,), dynamic_shapes=({0: torch.export.Dim("rows")},))
    torch.export.save(program, directory / "model.pt2")
    (directory / "metrics.json").write_text(json.dumps({"loss": f"{loss:.4f}"}))


def main() -> None:
    """Train, then export to $MODELSERVICE_OUTPUT_DIR or ./output."""
    torch.manual_seed(1)
    network = build_network()
    loss = train(network, torch.randn(ROWS, FEATURES))
    directory = Path(os.environ.get("MODELSERVICE_OUTPUT_DIR", "output"))
    export(network, loss, directory)
    print(f"saved {directory / 'model.pt2'}")


if __name__ == "__main__":
    main()
