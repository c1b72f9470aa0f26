"""Manifests and the files they pin."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from modelservice_workers.common.artifacts import (
    EXPORT_FORMAT,
    MANIFEST_NAME,
    Manifest,
    bytes_digest,
    file_digest,
    list_files,
    read_manifest,
    read_stored,
)
from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.common.signature import Range, Signature, TensorSpec

SIGNATURE = Signature((TensorSpec("x", "FP32", (Range("x.0"), 10)),), (TensorSpec("y", "INT64", (Range("y.0"),)),))


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    (tmp_path / "model.pt2").write_bytes(b"weights")
    digests = {"model.pt2": bytes_digest(b"weights")}
    manifest = Manifest(EXPORT_FORMAT, SIGNATURE, digests, {"run": "a"})
    (tmp_path / MANIFEST_NAME).write_bytes(manifest.to_bytes())
    return tmp_path


def test_a_manifest_reads_back_as_it_was_written(artifact: Path) -> None:
    stored = read_stored(artifact)
    assert stored.manifest == Manifest(EXPORT_FORMAT, SIGNATURE, {"model.pt2": bytes_digest(b"weights")}, {"run": "a"})
    assert stored.digest == file_digest(artifact / MANIFEST_NAME)
    assert stored.size_bytes == sum(path.stat().st_size for path in artifact.iterdir())


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b", ""])
def test_a_manifest_cannot_name_files_outside_its_directory(artifact: Path, name: str) -> None:
    document = json.loads((artifact / MANIFEST_NAME).read_bytes())
    document["digests"][name] = bytes_digest(b"")
    (artifact / MANIFEST_NAME).write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match="lies outside the artifact"):
        read_manifest(artifact)


TENSOR = {"name": "x", "datatype": "FP32", "shape": [1]}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"version": 2}, "has version 2; this worker reads 1"),
        ({"format": None}, "names no format"),
        ({"digests": ["model.pt2"]}, "an object of texts in digests"),
        ({"digests": {"model.pt2": "md5:0"}}, "it must be sha256:"),
        ({"lineage": {"attempt": 1}}, "an object of texts in lineage"),
        ({"signature": []}, "must be an object with inputs and outputs"),
        ({"signature": {"inputs": [], "outputs": [TENSOR]}}, "at least one tensor in inputs"),
        ({"signature": {"inputs": [TENSOR]}}, "at least one tensor in outputs"),
        ({"signature": {"inputs": [TENSOR, TENSOR], "outputs": [TENSOR]}}, "uses one name twice in inputs"),
        ({"signature": {"inputs": [1], "outputs": [TENSOR]}}, r"no object at inputs\[0\]"),
        ({"signature": {"inputs": [{**TENSOR, "name": ""}], "outputs": [TENSOR]}}, r"no tensor at inputs\[0\]"),
        ({"signature": {"inputs": [{**TENSOR, "datatype": "X"}], "outputs": [TENSOR]}}, "unknown datatype 'X'"),
        ({"signature": {"inputs": [{**TENSOR, "shape": [-2]}], "outputs": [TENSOR]}}, "no list of sizes"),
    ],
)
def test_a_malformed_manifest_is_refused_with_what_is_wrong(
    artifact: Path, fields: dict[str, Any], sentence: str
) -> None:
    document = {**json.loads((artifact / MANIFEST_NAME).read_bytes()), **fields}
    (artifact / MANIFEST_NAME).write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match=sentence):
        read_manifest(artifact)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b" " * ((1 << 20) + 1)])
def test_a_manifest_that_is_no_object_is_refused(artifact: Path, content: bytes) -> None:
    (artifact / MANIFEST_NAME).write_bytes(content)
    with pytest.raises(ArtifactError, match=MANIFEST_NAME):
        read_manifest(artifact)


def test_a_file_replaced_by_a_link_is_refused(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "model.pt2"
    (artifact / "model.pt2").rename(elsewhere)
    (artifact / "model.pt2").symlink_to(elsewhere)
    with pytest.raises(ArtifactError, match="is not a regular file"):
        read_stored(artifact)


def test_only_plain_files_can_be_listed(artifact: Path) -> None:
    (artifact / "deep" / "er").mkdir(parents=True)
    (artifact / "deep" / "er" / "file").touch()
    assert [name for name, _ in list_files(artifact)] == [MANIFEST_NAME, "model.pt2", "deep/er/file"]
    (artifact / "deep" / "folder").symlink_to(artifact)
    with pytest.raises(ArtifactError, match="holds deep/folder, which is a link or special file"):
        list(list_files(artifact))
    (artifact / "deep" / "folder").unlink()
    os.mkfifo(artifact / "pipe")
    with pytest.raises(ArtifactError, match="holds pipe"):
        list(list_files(artifact))


def test_names_of_a_manifest_replace_those_of_the_program() -> None:
    named = Signature((TensorSpec("in", "FP32", (Range("a"), 10)),), (TensorSpec("out", "INT64", (Range("a"),)),))
    renamed = SIGNATURE.renamed(named)
    assert [renamed.inputs[0].name, renamed.outputs[0].name] == ["in", "out"]
    assert renamed.inputs[0].dims == SIGNATURE.inputs[0].dims
    more = Signature(named.inputs * 2, named.outputs)
    with pytest.raises(ArtifactError, match="lists 2 inputs and the model has 1"):
        SIGNATURE.renamed(more)


def test_rows_vary_only_when_every_tensor_shares_its_first_size() -> None:
    rows = Range("rows")
    x, y = TensorSpec("x", "FP32", (rows, 2)), TensorSpec("y", "FP32", (rows,))
    assert Signature((x,), (y,)).rows == rows
    for other in (
        TensorSpec("z", "FP32", (Range("others"),)),
        TensorSpec("z", "FP32", ()),
        TensorSpec("z", "FP32", (3,)),
    ):
        assert Signature((x,), (y, other)).rows is None
