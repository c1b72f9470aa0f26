"""Which files of a source make the model (cases C22 and C23)."""

import pytest
from modelservice_workers.common.errors import ArtifactError, SettingsError
from modelservice_workers.download.addresses import parse_address
from modelservice_workers.download.listing import RemoteFile, check_paths, fingerprint
from modelservice_workers.download.selection import select

from tests.unit.workers.listings import GB, files

SHARDS = {f"model-{number:05d}-of-00010.safetensors": int(4.8 * GB) for number in range(1, 11)}
SMALL = {"config.json": 700, "tokenizer.json": 2_000_000, "README.md": 9_000, "model.safetensors.index.json": 90_000}


def test_weights_that_lie_there_twice_are_fetched_once() -> None:
    twice = {"consolidated.safetensors": 48 * GB, "original/consolidated.00.pth": 48 * GB}
    rest = {"pytorch_model.bin": 48 * GB, "optimizer.pt": 96 * GB, "training_args.bin": 4_000}
    selection = select(files({**SHARDS, **SMALL, **twice, **rest}), SHARDS)
    assert selection.weight_bytes == 48 * GB
    assert selection.total_bytes < 49 * GB
    assert {file.path for file in selection.files} == {*SHARDS, *SMALL}


def test_without_an_index_the_shards_are_told_from_one_file_of_the_same_weights() -> None:
    selection = select(files({**SHARDS, "consolidated.safetensors": 48 * GB}))
    assert selection.weights == SHARDS.keys()


def test_shards_with_unusual_names_are_taken_when_the_index_names_them() -> None:
    parts = {"part-a.safetensors": 10, "part-b.safetensors": 10, "model.safetensors.index.json": 5}
    assert select(files(parts), ["part-a.safetensors", "part-b.safetensors"]).weight_bytes == 20


def test_layers_in_folders_belong_to_a_model_that_names_its_modules() -> None:
    model = {
        "modules.json": 1,
        "model.safetensors": 5,
        "1_Pooling/config.json": 1,
        "2_Dense/config.json": 1,
        "2_Dense/model.safetensors": 3,
        "onnx/model.onnx": 9,
        "openvino/openvino_model.bin": 9,
    }
    assert {file.path for file in select(files(model)).files} == model.keys() - {
        "onnx/model.onnx",
        "openvino/openvino_model.bin",
    }


@pytest.mark.parametrize(
    ("sizes", "kind", "weights"),
    [
        ({"model.pt2": 5, "notes.md": 1}, "torch.export", {"model.pt2"}),
        ({"model.onnx": 5, "model.onnx_data": 50, "labels.txt": 1}, "onnx", {"model.onnx", "model.onnx_data"}),
        ({"openvino_model.xml": 5, "openvino_model.bin": 50}, "openvino", {"openvino_model.xml", "openvino_model.bin"}),
        ({"m-Q4_K_M.gguf": 5, "README.md": 1}, "gguf", {"m-Q4_K_M.gguf"}),
        (
            {"m-00001-of-00002.gguf": 5, "m-00002-of-00002.gguf": 5},
            "gguf",
            {"m-00001-of-00002.gguf", "m-00002-of-00002.gguf"},
        ),
        ({"model.safetensors": 5, "model.fp16.safetensors": 3}, "safetensors", {"model.safetensors"}),
        ({"model.safetensors": 5, "model.onnx": 5, "model.pt2": 5}, "safetensors", {"model.safetensors"}),
        ({"model.tar.gz": 5}, "archive", {"model.tar.gz"}),
        ({"manifest.json": 1, "model.pt2": 5, "readme.txt": 1}, "manifest", {"model.pt2", "readme.txt"}),
    ],
)
def test_each_format_is_told_from_its_files(sizes: dict[str, int], kind: str, weights: set[str]) -> None:
    selection = select(files(sizes))
    assert selection.format == kind
    assert selection.weights == weights


@pytest.mark.parametrize(
    ("sizes", "indexed", "sentence"),
    [
        ({"pytorch_model.bin": 48 * GB, "config.json": 1}, [], "only as a pickle (pytorch_model.bin)"),
        ({"config.json": 1}, [], "no weights among its 1 files"),
        ({"m-Q4.gguf": 5, "m-Q8.gguf": 9}, [], "several models: m-Q4.gguf, m-Q8.gguf; end the storage URI with"),
        ({"a.onnx": 5, "b.onnx": 9}, [], "several models: a.onnx, b.onnx"),
        (
            {path: size for path, size in SHARDS.items() if "00002" not in path},
            [],
            "The shard model-00002-of-00010.safetensors is missing",
        ),
        ({"model.safetensors": 5}, ["model-00001-of-00001.safetensors"], "names files that do not exist: model-00001"),
    ],
)
def test_what_is_no_model_is_refused_in_one_sentence(sizes: dict[str, int], indexed: list[str], sentence: str) -> None:
    with pytest.raises(ArtifactError) as raised:
        select(files(sizes), indexed)
    assert sentence in str(raised.value)
    assert str(raised.value).endswith(".")


def test_python_files_come_along_only_for_models_that_run_their_own_code() -> None:
    model = {"model.safetensors": 5, "modeling_x.py": 1}
    assert "modeling_x.py" not in {file.path for file in select(files(model)).files}
    assert "modeling_x.py" in {file.path for file in select(files(model), scripts=True).files}


@pytest.mark.parametrize("path", ["../evil", "/tmp/evil", "a/../../evil", "..", "", "a\\b", "a\0b"])
def test_a_path_that_leaves_the_model_is_refused(path: str) -> None:
    with pytest.raises(ArtifactError, match="outside the model"):
        check_paths([RemoteFile(path, 1)])


def test_names_that_fall_together_on_some_disks_are_refused() -> None:
    with pytest.raises(ArtifactError, match=r"holds both Model\.pt2 and model\.pt2"):
        check_paths([RemoteFile("Model.pt2", 1), RemoteFile("model.pt2", 1)])


def test_a_fingerprint_follows_names_sizes_and_tags_but_not_their_order() -> None:
    first, second = RemoteFile("a", 1, tag="x"), RemoteFile("b", 2, tag="y")
    assert fingerprint([first, second]) == fingerprint([second, first])
    assert fingerprint([first]) != fingerprint([RemoteFile("a", 1, tag="z")]) != fingerprint([second])


@pytest.mark.parametrize(
    ("text", "shown", "file_name"),
    [
        ("hf://org/name", "hf://org/name", ""),
        ("hf://org/name.pt2", "hf://org/name.pt2", ""),
        ("hf://org/name@v1.0/", "hf://org/name@v1.0", ""),
        ("hf://org/name@main/q/m-Q4.gguf", "hf://org/name@main/q/m-Q4.gguf", "m-Q4.gguf"),
        ("s3://bucket/models/a", "s3://bucket/models/a", ""),
        ("gs://bucket/a.onnx", "gs://bucket/a.onnx", "a.onnx"),
        ("https://host:8/a/model.tar.gz", "https://host:8/a/model.tar.gz", "model.tar.gz"),
        ("file:///models/a", "file:///models/a", ""),
    ],
)
def test_an_address_is_read_as_it_is_written(text: str, shown: str, file_name: str) -> None:
    address = parse_address(text)
    assert (str(address), address.file_name) == (shown, file_name)


@pytest.mark.parametrize(
    "text", ["", "models", "ftp://host/a", "hf://name", "hf://a/b/../c", "file://a/b", "s3://b/../c", "s3://b/a b"]
)
def test_an_address_that_names_no_model_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        parse_address(text)
