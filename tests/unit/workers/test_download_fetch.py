"""Fetching whole models: pinned, resumed, verified and published at once (cases C22, C23, C25)."""

import io
import json
import random
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.download import transfer
from modelservice_workers.download.fetching import fetch
from modelservice_workers.download.listing import RemoteFile
from modelservice_workers.download.progress import Progress
from modelservice_workers.download.settings import FetchSettings, read_settings
from modelservice_workers.download.store import MARKER_NAME, Fetched, Store
from modelservice_workers.main import EXIT_FETCH, run
from prometheus_client import generate_latest

from tests.unit.workers.listings import manifest, safetensors, sharded, write
from tests.unit.workers.servers import REPOSITORY as HERE
from tests.unit.workers.servers import wait_until
from tests.unit.workers.webservers import COMMIT, REPOSITORY, Site, serving

LARGE = safetensors("weights", values=300_000)
CHUNK_BYTES = 8 << 20
WORKERS = HERE / "workers"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer.Transfer, "__init__", _without_pauses(transfer.Transfer.__init__))


def _without_pauses(init: object) -> object:
    def made(*arguments: object, **options: object) -> None:
        init(*arguments, **{**options, "pause_seconds": 0.0})  # type: ignore[operator]

    return made


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site()) as running:
        yield running


@pytest.fixture
def hub(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", site.address)
    template = f"{site.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    return site


def settings(uri: str, target: Path, **options: str) -> FetchSettings:
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    return read_settings(["--uri", uri, "--target", str(target), *words], {})


def names(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


def test_a_repository_of_the_hub_is_pinned_to_its_commit_and_fetched_once(hub: Site, tmp_path: Path) -> None:
    contents = {**sharded(), "pytorch_model.bin": b"pickle"}
    hub.put_hub(contents)
    fetched = fetch(settings(f"hf://{REPOSITORY}", tmp_path / "m"))
    assert fetched.revision == COMMIT
    assert names(tmp_path / "m") == {*contents, MARKER_NAME} - {"pytorch_model.bin"}
    asked = len(hub.requests)
    assert fetch(settings(f"hf://{REPOSITORY}", tmp_path / "m")) == fetched
    assert len(hub.requests) == asked


def test_a_pinned_revision_is_kept_although_the_branch_moved_on(hub: Site, tmp_path: Path) -> None:
    hub.put_hub({"model.safetensors": safetensors("old")})
    first = fetch(settings(f"hf://{REPOSITORY}", tmp_path / "a"))
    hub.put_hub({"model.safetensors": safetensors("new")}, "f" * 40)
    second = fetch(settings(f"hf://{REPOSITORY}", tmp_path / "b", revision=first.revision))
    assert second == first
    assert (tmp_path / "b" / "model.safetensors").read_bytes() == safetensors("old")
    assert fetch(settings(f"hf://{REPOSITORY}", tmp_path / "c")).revision == "f" * 40


def test_a_single_file_of_a_repository_is_fetched_alone(hub: Site, tmp_path: Path) -> None:
    hub.put_hub({"q/m-Q4.gguf": b"GGUF" + bytes(50), "q/m-Q8.gguf": b"GGUF" + bytes(90)})
    fetch(settings(f"hf://{REPOSITORY}/q/m-Q4.gguf", tmp_path / "m"))
    assert names(tmp_path / "m") == {"m-Q4.gguf", MARKER_NAME}


def test_a_file_that_differs_from_the_hubs_digest_is_refused(hub: Site, tmp_path: Path) -> None:
    hub.put_hub({"model.safetensors": safetensors("a")})
    hub.bodies[f"/{REPOSITORY}/resolve/{COMMIT}/model.safetensors"] = safetensors("b")
    with pytest.raises(ArtifactError, match=r"model\.safetensors has the digest"):
        fetch(settings(f"hf://{REPOSITORY}", tmp_path / "m"))
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("uri", ["hf://org/none", f"hf://{REPOSITORY}@none", f"hf://{REPOSITORY}/none.gguf"])
def test_what_the_hub_does_not_have_is_said(uri: str, hub: Site, tmp_path: Path) -> None:
    hub.put_hub({"model.safetensors": safetensors("a")})
    with pytest.raises(ArtifactError, match="check the"):
        fetch(settings(uri, tmp_path / "m"))


def test_a_repository_that_needs_a_token_says_so(hub: Site, tmp_path: Path) -> None:
    hub.put_hub({"model.safetensors": safetensors("a")})
    hub.token = "secret"
    with pytest.raises(ArtifactError, match="credentials"):
        fetch(settings(f"hf://{REPOSITORY}", tmp_path / "m"))


def test_connections_that_break_are_resumed_where_they_broke(site: Site, tmp_path: Path) -> None:
    site.bodies["/model.safetensors"] = LARGE
    site.cuts = [100_000, 50_000, 200_000]
    fetched = fetch(settings(f"{site.address}/model.safetensors", tmp_path / "m"))
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == LARGE
    assert fetched.size_bytes == len(LARGE)


def test_a_server_without_ranges_or_lengths_is_read_as_a_stream(site: Site, tmp_path: Path) -> None:
    site.bodies["/model.safetensors"] = LARGE
    site.ranges = site.lengths = False
    fetch(settings(f"{site.address}/model.safetensors", tmp_path / "m"))
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == LARGE


def test_a_stream_without_a_length_stops_at_the_limit(site: Site, tmp_path: Path) -> None:
    site.bodies["/model.safetensors"] = bytes(4 << 20)
    site.ranges = site.lengths = False
    with pytest.raises(ArtifactError, match="grows above"):
        fetch(settings(f"{site.address}/model.safetensors", tmp_path / "m", limit_bytes=str(1 << 20)))
    assert not (tmp_path / "m").exists()


def test_a_server_that_only_fails_is_given_up_with_its_last_answer(site: Site, tmp_path: Path) -> None:
    site.bodies["/model.safetensors"] = LARGE
    site.cuts = [0] * 100
    with pytest.raises(ArtifactError, match="could not be fetched in 6 tries"):
        fetch(settings(f"{site.address}/model.safetensors", tmp_path / "m"))


def test_a_published_artifact_on_a_web_server_is_verified_file_by_file(site: Site, tmp_path: Path) -> None:
    contents = {"model.pt2": b"program", "labels.txt": b"a"}
    site.bodies = {f"/m/{name}": content for name, content in contents.items()}
    site.bodies["/m/manifest.json"] = manifest(contents)
    fetch(settings(f"{site.address}/m", tmp_path / "good"))
    assert names(tmp_path / "good") == {*contents, "manifest.json", MARKER_NAME}
    site.bodies["/m/model.pt2"] = b"PROGRAM"
    with pytest.raises(ArtifactError, match=r"model\.pt2 has the digest"):
        fetch(settings(f"{site.address}/m", tmp_path / "bad"))
    assert not (tmp_path / "bad").exists()


def test_a_directory_that_changed_since_it_was_pinned_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "source", {"model.safetensors": safetensors("a")})
    first = fetch(settings(f"file://{source}", tmp_path / "a"))
    (source / "model.safetensors").write_bytes(safetensors("a", "b"))
    with pytest.raises(ArtifactError, match="is no longer what it was"):
        fetch(settings(f"file://{source}", tmp_path / "b", revision=first.revision))


def test_files_that_change_while_they_are_fetched_are_not_kept(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.bodies["/model.safetensors"] = safetensors("a")
    original = transfer.Transfer.fetch

    def fetch_and_change(self: transfer.Transfer, files: Iterable[RemoteFile]) -> None:
        original(self, files)
        site.bodies["/model.safetensors"] = safetensors("b")

    monkeypatch.setattr(transfer.Transfer, "fetch", fetch_and_change)
    with pytest.raises(ArtifactError, match="changed while it was fetched"):
        fetch(settings(f"{site.address}/model.safetensors", tmp_path / "m"))
    assert not (tmp_path / "m").exists()


def test_a_link_in_a_directory_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "source", {"model.safetensors": safetensors("a")})
    (source / "config.json").symlink_to("/etc/passwd")
    with pytest.raises(ArtifactError, match=r"holds the link config\.json"):
        fetch(settings(f"file://{source}", tmp_path / "m"))


def test_an_archive_is_unpacked_and_what_is_no_model_in_it_is_left_out(site: Site, tmp_path: Path) -> None:
    packed = io.BytesIO()
    contents = {"m/model.safetensors": safetensors("a"), "m/config.json": b"{}", "m/evil.pt": b"pickle"}
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    site.bodies["/model.tar.gz"] = packed.getvalue()
    fetch(settings(f"{site.address}/model.tar.gz", tmp_path / "m"))
    assert names(tmp_path / "m") == {"model.safetensors", "config.json", MARKER_NAME}


def test_refused_content_leaves_no_partial_folder(site: Site, tmp_path: Path) -> None:
    site.bodies["/model.tar.gz"] = b"no archive"
    with pytest.raises(ArtifactError, match="cannot be unpacked"):
        fetch(settings(f"{site.address}/model.tar.gz", tmp_path / "in" / "m"))
    assert names(tmp_path / "in") <= {".m.lock"}


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_fetch_goes_on_where_it_was(seed: int, site: Site, tmp_path: Path) -> None:
    contents = {f"part-{number}.safetensors": safetensors("a", values=5_000_000) for number in range(3)}
    site.bodies = {f"/m/{name}": content for name, content in contents.items()}
    site.bodies["/m/manifest.json"] = manifest(contents)
    total = sum(map(len, contents.values()))
    site.hold_at = int(random.Random(seed).uniform(0.3, 0.8) * total)
    options = ["fetch", "--uri", f"{site.address}/m", "--target", str(tmp_path / "m")]
    with subprocess.Popen([sys.executable, "-m", "modelservice_workers.main", *options], cwd=WORKERS) as process:
        wait_until(lambda: sum(site.sent.values()) > (site.hold_at or 0), "the held bytes")
        process.kill()
    assert not (tmp_path / "m").exists()
    site.hold_at = None
    site.released.set()
    fetch(settings(f"{site.address}/m", tmp_path / "m"))
    for name, content in contents.items():
        assert (tmp_path / "m" / name).read_bytes() == content
    assert sum(site.sent.values()) < total + 5 * CHUNK_BYTES


def test_what_is_left_of_another_revision_does_not_get_into_this_one(hub: Site, tmp_path: Path) -> None:
    old = {f"model-{number:05d}-of-00002.safetensors": safetensors(f"{number}", values=1) for number in (1, 2)}
    new = {name: safetensors(name[6:11], values=2) for name in old}
    hub.put_hub(old)
    store = Store(tmp_path / "m")
    with store.reserve(f"hf://{REPOSITORY}", COMMIT) as staging:
        write(staging / "content", {min(old): old[min(old)]})
    hub.put_hub(new, "f" * 40)
    fetched = fetch(settings(f"hf://{REPOSITORY}", tmp_path / "m"))
    assert fetched.revision == "f" * 40
    assert {name: (tmp_path / "m" / name).read_bytes() for name in new} == new
    assert names(tmp_path) == {".m.lock", f"m/{MARKER_NAME}", *(f"m/{name}" for name in new)}


def test_a_fetch_that_is_told_to_stop_ends_at_once_and_not_as_if_it_were_done(site: Site, tmp_path: Path) -> None:
    site.bodies["/model.safetensors"] = LARGE
    site.hold_at = 1
    options = ["fetch", "--uri", f"{site.address}/model.safetensors", "--target", str(tmp_path / "m")]
    with subprocess.Popen([sys.executable, "-m", "modelservice_workers.main", *options], cwd=WORKERS) as process:
        wait_until(lambda: sum(site.sent.values()) > 1, "the held bytes")
        process.terminate()
        assert process.wait(5) == 143
    site.released.set()
    assert not (tmp_path / "m").exists()


def test_two_pods_of_a_node_fetch_a_model_once(site: Site, tmp_path: Path) -> None:
    site.bodies["/model.safetensors"] = LARGE
    uri, cache = f"{site.address}/model.safetensors", str(tmp_path / "cache")
    first = fetch(settings(uri, tmp_path / "a" / "m", cache=cache))
    sent = site.sent["/model.safetensors"]
    second = fetch(settings(uri, tmp_path / "b" / "m", cache=cache, revision=first.revision))
    third = fetch(settings(uri, tmp_path / "c" / "m", cache=cache))
    assert first == second == third
    assert site.sent["/model.safetensors"] == sent
    assert (tmp_path / "b" / "m" / "model.safetensors").read_bytes() == LARGE
    assert (tmp_path / "a" / "m").readlink() == (tmp_path / "b" / "m").readlink()


def test_a_place_that_holds_another_model_is_left_alone(tmp_path: Path) -> None:
    source = write(tmp_path / "source", {"model.safetensors": safetensors("a")})
    write(tmp_path / "mine", {"notes.txt": b"mine"})
    with pytest.raises(ArtifactError, match="files that were not fetched here"):
        fetch(settings(f"file://{source}", tmp_path / "mine"))
    fetch(settings(f"file://{source}", tmp_path / "m"))
    other = write(tmp_path / "other", {"model.safetensors": safetensors("b")})
    with pytest.raises(ArtifactError, match="give an empty place"):
        fetch(settings(f"file://{other}", tmp_path / "m"))


def test_a_model_that_does_not_fit_is_refused_before_it_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "source", {"model.safetensors": LARGE})
    monkeypatch.setattr("modelservice_workers.download.store.Store.free_bytes", lambda _: 1000)
    with pytest.raises(ArtifactError, match=r"needs 1,200,\d\d\d bytes and 1,000 are free"):
        fetch(settings(f"file://{source}", tmp_path / "m"))


def test_progress_tells_bytes_speed_and_time_left() -> None:
    now = 0.0
    progress = Progress(1000, lambda: now)
    progress.add(200, fetched=False)
    assert progress.remaining() == -1
    now = 2.0
    progress.add(200)
    assert (progress.speed(), progress.remaining()) == (100.0, 6.0)
    assert progress.line() == "40 % of 0.0 MB, 0.0 MB/s, 6 s left"
    text = generate_latest(progress.registry).decode()
    assert "modelservice_download_done_bytes 400.0" in text
    assert "modelservice_download_remaining_seconds 6.0" in text
    now = 3.0
    progress.add(600)
    assert progress.remaining() == 0


def test_the_command_reports_the_revision_in_its_termination_message(tmp_path: Path) -> None:
    source = write(tmp_path / "source", {"model.safetensors": safetensors("a")})
    environment = {
        "MODELSERVICE_STORAGE_URI": f"file://{source}",
        "MODELSERVICE_MODEL_DIR": str(tmp_path / "m"),
        "MODELSERVICE_TERMINATION_LOG": str(tmp_path / "log"),
    }
    assert run(["fetch"], environment) == 0
    message = json.loads((tmp_path / "log").read_bytes())
    fetched = Fetched(**json.loads((tmp_path / "m" / MARKER_NAME).read_bytes()))
    assert message["outcome"] == "Succeeded"
    assert message["artifact"] == {
        "path": fetched.address,
        "digest": fetched.digest,
        "bytes": fetched.size_bytes,
        "revision": fetched.revision,
    }
    (source / "model.safetensors").unlink()
    write(source, {"model.bin": b"pickle"})
    assert run(["fetch", "--target", str(tmp_path / "n")], environment) == EXIT_FETCH
    assert "only as a pickle" in json.loads((tmp_path / "log").read_bytes())["message"]


@pytest.mark.parametrize("words", [[], ["--uri", "x"], ["--limit-bytes", "-1"], ["--nonsense"]])
def test_wrong_options_end_with_the_usage_code(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    place = {"MODELSERVICE_STORAGE_URI": "file:///m", "MODELSERVICE_MODEL_DIR": "/m"} if words else {}
    assert run(["fetch", *words], place) == 2
    assert capsys.readouterr().err.startswith("modelservice-worker: ")
