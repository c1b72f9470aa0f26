"""Weights that are missing, cut short, or not weights at all, found before an engine opens them."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.common.weightfiles import check_weights

INDEX = "model.safetensors.index.json"


def write_weights(path: Path, tensors: dict[str, int], datatype: str = "F32") -> None:
    """Tensors of so many elements; 4 bytes each, 2 for half precision."""
    size = 2 if datatype in ("F16", "BF16") else 4
    header, at = {}, 0
    for name, elements in tensors.items():
        header[name] = {"dtype": datatype, "shape": [elements], "data_offsets": [at, at + elements * size]}
        at += elements * size
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(at))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Three shards and an index."""
    places = {}
    for shard, names in enumerate((("a", "b"), ("c",), ("d", "e")), 1):
        name = f"model-0000{shard}-of-00003.safetensors"
        write_weights(tmp_path / name, dict.fromkeys(names, 100))
        places.update(dict.fromkeys(names, name))
    (tmp_path / INDEX).write_text(json.dumps({"metadata": {"total_size": 2000}, "weight_map": places}))
    return tmp_path


SECOND = "model-00002-of-00003.safetensors"


def cut(directory: Path) -> None:
    path = directory / SECOND
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def point(directory: Path) -> None:
    (directory / SECOND).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 123\n")


def place(**places: str) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        document = json.loads((directory / INDEX).read_text())
        document["weight_map"].update(places)
        (directory / INDEX).write_text(json.dumps(document))

    return change


def rename_all(directory: Path) -> None:
    for at, path in enumerate(sorted(directory.glob("*.safetensors"))):
        path.rename(directory / f"part-{at}.safetensors")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda d: (d / SECOND).unlink(), f"names 1 files that do not exist, {SECOND} for one"),
        (cut, f"{SECOND} does not have the 400 bytes of tensors that it says it holds, but 1"),
        (point, f"{SECOND} is a Git LFS pointer and no weights"),
        (place(x=SECOND), f"{SECOND} lacks x, which {INDEX} says it holds"),
        (rename_all, "names 3 files that do not exist"),
        (place(x="../model.safetensors"), "names '../model.safetensors', which is no safetensors file beside it"),
        (place(x="pytorch_model.bin"), "names 'pytorch_model.bin', which is no safetensors file beside it"),
        (lambda d: (d / SECOND).write_bytes(b""), f"{SECOND} is no safetensors file or is cut short"),
        (lambda d: (d / SECOND).write_bytes(b"\xff" * 100), f"{SECOND} is no safetensors file or is cut short"),
        (lambda d: (d / SECOND).write_bytes(struct.pack("<Q", 2) + b"[]"), f"{SECOND} is no safetensors file"),
        (lambda d: (d / INDEX).write_text("{}"), f"{INDEX} is no index of weights"),
        (lambda d: (d / INDEX).write_text("{"), f"{INDEX} is no index of weights"),
    ],
)
def test_weights_that_are_not_whole_are_refused_by_file(
    model: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    spoil(model)
    with pytest.raises(ArtifactError) as caught:
        check_weights(model)
    assert sentence in str(caught.value)


def test_whole_weights_are_taken_whatever_their_shards_are_called(model: Path) -> None:
    assert check_weights(model) == "FP32"
    rename_all(model)
    names = sorted(path.name for path in model.glob("*.safetensors"))
    place(a=names[0], b=names[0], c=names[1], d=names[2], e=names[2])(model)
    assert check_weights(model) == "FP32"


def test_the_datatype_is_that_of_most_elements(tmp_path: Path) -> None:
    write_weights(tmp_path / "model.safetensors", {"large": 1000}, "BF16")
    assert check_weights(tmp_path) == "BF16"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.joblib", "weights.npz"])
def test_pickles_are_never_loaded(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps({}))
    with pytest.raises(ArtifactError, match=f"in {name}, a pickle that could run code"):
        check_weights(tmp_path)


def test_a_directory_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"holds no model\.safetensors and no model\.safetensors\.index\.json"):
        check_weights(tmp_path)
