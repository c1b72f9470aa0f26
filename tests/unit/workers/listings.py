"""Listings and small weight files for tests of downloads."""

import hashlib
import json
import struct
from pathlib import Path

from modelservice_workers.download.listing import RemoteFile

GB = 1_000_000_000


def files(sizes: dict[str, int]) -> list[RemoteFile]:
    return [RemoteFile(path, size, path) for path, size in sizes.items()]


def safetensors(*names: str, values: int = 4) -> bytes:
    """A file of float32 vectors; each holds its position."""
    header = {}
    body = b""
    for position, name in enumerate(names):
        data = struct.pack("<f", float(position)) * values
        header[name] = {"dtype": "F32", "shape": [values], "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def index(shards: dict[str, str]) -> bytes:
    return json.dumps({"metadata": {"total_size": 0}, "weight_map": shards}).encode()


def sharded(count: int = 3) -> dict[str, bytes]:
    """An index and `count` shards of one tensor each."""
    names = {f"layer.{number}": f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)}
    shards = {shard: safetensors(tensor) for tensor, shard in names.items()}
    return {**shards, "model.safetensors.index.json": index(names), "config.json": b"{}"}


def write(directory: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return directory


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def manifest(contents: dict[str, bytes]) -> bytes:
    return json.dumps(
        {
            "version": 1,
            "format": "torch.export",
            "signature": {
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
                "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
            },
            "digests": {name: f"sha256:{sha256(content)}" for name, content in contents.items()},
            "lineage": {},
        }
    ).encode()
