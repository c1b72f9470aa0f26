"""Fetching from a real S3 server."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.download.addresses import parse_address
from modelservice_workers.download.fetching import fetch
from modelservice_workers.download.progress import Progress
from modelservice_workers.download.settings import FetchSettings, read_settings
from modelservice_workers.download.sources import open_source
from modelservice_workers.download.store import MARKER_NAME
from modelservice_workers.download.transfer import Transfer

from tests.unit.workers.listings import safetensors, sharded
from tests.unit.workers.servers import REPOSITORY, wait_until

USER, SECRET = "tester", "not-a-secret"
LARGE = safetensors("weights", values=3_000_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 server whose buckets lie in a temporary directory."""
    home = tmp_path_factory.mktemp("s3")
    for name in ("data", "attributes"):
        (home / name).mkdir()
    log = home / "log"
    options = ["--access", USER, "--secret", SECRET, "--port", "127.0.0.1:0", "--quiet"]
    command = [REPOSITORY / "bin" / "versitygw", *options, "posix", "--sidecar", home / "attributes", home / "data"]
    with log.open("w") as output, subprocess.Popen([*map(str, command)], stdout=output, stderr=output) as process:
        try:
            yield wait_until(lambda: _address(process, log), "the S3 server")
        finally:
            process.terminate()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """The address that the server listens on, as the kernel tells; "" when it does not listen yet."""
    assert process.poll() is None, log.read_text()
    sockets = {link.name for link in Path(f"/proc/{process.pid}/fd").iterdir() if _is_socket(link)}
    inodes = {str(Path(f"/proc/{process.pid}/fd/{name}").readlink())[8:-1] for name in sockets}
    for line in Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and fields[9] in inodes:
            return f"http://127.0.0.1:{int(fields[1].partition(':')[2], 16)}"
    return ""


def _is_socket(link: Path) -> bool:
    try:
        return str(link.readlink()).startswith("socket:")
    except FileNotFoundError:
        return False


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A file system of the server with the bucket `models`; the environment holds its address and keys."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", USER)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
    if not filesystem.exists("models"):
        filesystem.mkdir("models")
    return filesystem


def settings(uri: str, target: Path, *words: str) -> FetchSettings:
    return read_settings(["--uri", uri, "--target", str(target), *words], {})


def test_a_prefix_is_fetched_and_pinned_by_the_tags_of_its_objects(bucket: Any, tmp_path: Path) -> None:
    contents = sharded()
    for name, content in contents.items():
        bucket.pipe(f"models/a/{name}", content)
    bucket.pipe("models/a-other/secret.safetensors", b"another model")
    first = fetch(settings("s3://models/a", tmp_path / "a"))
    assert {path.name for path in (tmp_path / "a").iterdir()} == {*contents, MARKER_NAME}
    assert fetch(settings("s3://models/a", tmp_path / "b", "--revision", first.revision)) == first
    bucket.pipe("models/a/config.json", b"[]")
    with pytest.raises(ArtifactError, match="is no longer what it was"):
        fetch(settings("s3://models/a", tmp_path / "c", "--revision", first.revision))


def test_a_large_object_in_parts_is_fetched_whole(bucket: Any, tmp_path: Path) -> None:
    with bucket.open("models/large.safetensors", "wb", block_size=5 << 20) as writer:
        writer.write(LARGE)
    fetch(settings("s3://models/large.safetensors", tmp_path / "m"))
    assert (tmp_path / "m" / "large.safetensors").read_bytes() == LARGE


def test_an_object_that_changes_while_it_is_read_is_not_mixed(bucket: Any, tmp_path: Path) -> None:
    bucket.pipe("models/moving/model.safetensors", LARGE)
    source = open_source(parse_address("s3://models/moving"))
    (file,) = source.list_files().files
    part = tmp_path / "model.safetensors.part"
    part.write_bytes(LARGE[:1000])
    bucket.pipe("models/moving/model.safetensors", LARGE[::-1])
    with pytest.raises(ArtifactError, match="changed while it was fetched"):
        Transfer(source, tmp_path, Progress(len(LARGE)), 1 << 30).fetch([file])


@pytest.mark.parametrize("uri", ["s3://models/none", "s3://none/a", "s3://models/none.safetensors"])
def test_what_a_bucket_does_not_hold_is_said(uri: str, bucket: Any, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="check the storage URI"):
        fetch(settings(uri, tmp_path / "m"))


def test_keys_that_the_server_does_not_take_are_said(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.pipe("models/b/model.safetensors", safetensors("a"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(ArtifactError, match="credentials"):
        fetch(settings("s3://models/b", tmp_path / "m"))
