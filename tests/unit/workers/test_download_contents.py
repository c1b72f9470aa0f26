"""What is fetched is checked before any engine sees it (cases C22 and C25)."""

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.download.archives import unpack
from modelservice_workers.download.weights import check_weights

from tests.unit.workers.listings import index, safetensors, sharded, write

SECOND = "model-00002-of-00003.safetensors"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
LIMIT = 1 << 20


def test_whole_shards_pass(tmp_path: Path) -> None:
    contents = sharded()
    check_weights(write(tmp_path, contents), [name for name in contents if name.endswith(".safetensors")])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda contents: contents.pop(SECOND), f"{SECOND} is missing"),
        (lambda contents: contents.update({SECOND: contents[SECOND][:-9]}), "it was cut short or changed"),
        (lambda contents: contents.update({SECOND: contents[SECOND][:20]}), "cut short in its header"),
        (lambda contents: contents.update({SECOND: POINTER}), f"{SECOND} is a Git LFS pointer"),
        (lambda contents: contents.update({SECOND: b"\x09" + bytes(7) + b"not json!"}), "damaged safetensors header"),
        (lambda contents: contents.update({SECOND: safetensors("other")}), "holds the tensor layer.2, and it does not"),
        (
            lambda contents: contents.update({"model.safetensors.index.json": index({"a": "gone.safetensors"})}),
            "names files that do not exist: gone.safetensors",
        ),
        (lambda contents: contents.update({"model.safetensors.index.json": b"{}"}), "holds no weight_map"),
        (
            lambda contents: contents.update({"model.safetensors.index.json": index({"a": "../m.safetensors"})}),
            "names '../m.safetensors', which is no safetensors file beside it",
        ),
        (lambda contents: contents.update({"m.gguf": b"GGML1234"}), "m.gguf is no GGUF file"),
    ],
)
def test_damaged_weights_are_refused_with_the_files_name(
    change: Callable[[dict[str, bytes]], object], sentence: str, tmp_path: Path
) -> None:
    contents = sharded()
    names = {name for name in contents if name.endswith(".safetensors")}
    change(contents)
    write(tmp_path, contents)
    with pytest.raises(ArtifactError) as raised:
        check_weights(tmp_path, names | {name for name in contents if name.endswith(".gguf")})
    assert sentence in str(raised.value)


def _tar(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for entry, content in entries:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def _entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, link
    return entry


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        ([_entry("../evil")], "../evil"),
        ([_entry("/tmp/evil")], "/tmp/evil"),
        ([_entry("a/../../evil")], "a/../../evil"),
        ([_entry("../m-evil/x")], "../m-evil/x"),
        ([_entry("link", tarfile.SYMTYPE, "/tmp"), _entry("link/evil")], "link"),
        ([_entry("passwd", tarfile.LNKTYPE, "/etc/passwd")], "passwd"),
        ([_entry("device", tarfile.CHRTYPE)], "device"),
        ([_entry("../evil", tarfile.DIRTYPE)], "../evil"),
    ],
)
def test_an_archive_that_reaches_outside_is_refused_and_leaves_nothing(
    entries: list[tarfile.TarInfo], named: str, tmp_path: Path
) -> None:
    archive = _tar(tmp_path / "m.tar.gz", (_entry("config.json"), b"{}"), *((entry, b"") for entry in entries))
    inside = tmp_path / "models"
    inside.mkdir()
    with pytest.raises(ArtifactError) as raised:
        unpack(archive, inside / "m", LIMIT)
    assert repr(named) in str(raised.value)
    assert list(inside.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.tar.gz", "models"]


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "a\\..\\evil"])
def test_a_zip_that_reaches_outside_is_refused(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(ArtifactError, match="outside the model's directory"):
        unpack(tmp_path / "m.zip", tmp_path / "m", LIMIT)
    assert not (tmp_path / "m").exists()


def test_a_zip_with_a_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr(link, b"/tmp")
    with pytest.raises(ArtifactError, match="'link', which is a link or device"):
        unpack(tmp_path / "m.zip", tmp_path / "m", LIMIT)


@pytest.mark.parametrize("name", ["m.zip", "m.tar.gz"])
def test_a_bomb_stops_at_the_limit(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("zeros", bytes(8 * LIMIT))
    else:
        _tar(path, (_entry("zeros"), bytes(8 * LIMIT)))
    with pytest.raises(ArtifactError, match=r"grows above 1,048,576 bytes at zeros"):
        unpack(path, tmp_path / "m", LIMIT)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b" + bytes(30), b"PK\x05\x06" + bytes(3)])
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.tar.gz").write_bytes(content)
    with pytest.raises(ArtifactError, match="cannot be unpacked"):
        unpack(tmp_path / "m.tar.gz", tmp_path / "m", LIMIT)
    assert not (tmp_path / "m").exists()


def test_a_good_archive_with_dots_in_its_paths_works(tmp_path: Path) -> None:
    archive = _tar(tmp_path / "m.tar.gz", (_entry("./a", tarfile.DIRTYPE), b""), (_entry("./a/b"), b"content"))
    unpack(archive, tmp_path / "m", LIMIT)
    assert (tmp_path / "m" / "a" / "b").read_bytes() == b"content"
