"""Fetching one model from its address to its place."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from modelservice_workers.common.artifacts import MANIFEST_NAME, bytes_digest, read_manifest, verify_files
from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.common.weightfiles import INDEX_LIMIT_BYTES, read_index
from modelservice_workers.download.archives import unpack
from modelservice_workers.download.listing import Listing, RemoteFile, check_paths
from modelservice_workers.download.progress import Progress
from modelservice_workers.download.selection import SAFETENSORS_INDEX, Selection, select
from modelservice_workers.download.settings import FetchSettings
from modelservice_workers.download.sources import DirectorySource, Source, open_source
from modelservice_workers.download.store import Fetched, Store
from modelservice_workers.download.transfer import Transfer
from modelservice_workers.download.weights import check_weights

_CONTENT: Final = "content"

_log = logging.getLogger(__name__)


def fetch(settings: FetchSettings, watch: Callable[[Progress], None] = lambda _: None) -> Fetched:
    """Fetch the model, unless it is there; `watch` gets the progress before the first byte. Raises ArtifactError.

    The revision is pinned first: files that change meanwhile are noticed, and a revision given is kept to.
    """
    store = Store(settings.target, settings.cache)
    address = str(settings.address)
    if found := store.find(address, settings.revision):
        _log.info("%s is here already at %s.", address, found.revision)
        return found
    if settings.revision and (found := store.cached(address, settings.revision)):
        _log.info("%s is in this node's cache at %s.", address, found.revision)
        return found
    source = open_source(settings.address, settings.revision)
    listing = source.list_files()
    if settings.revision and listing.revision != settings.revision:
        raise ArtifactError(
            f"{address} is no longer what it was at {settings.revision}; "
            "publish new versions under a new address, so that all replicas serve the same model."
        )
    check_paths(listing.files)
    selection = _select(source, listing, scripts=settings.scripts)
    with store.reserve(address, listing.revision) as staging:
        if found := store.cached(address, listing.revision):
            _log.info("%s was fetched by another pod of this node.", address)
            return found
        return _fill(settings, store, staging, source, listing, selection, watch)


def _select(source: Source, listing: Listing, *, scripts: bool) -> Selection:
    by_path = {file.path: file for file in listing.files}
    if MANIFEST_NAME in by_path and (digests := _read_digests(source, by_path[MANIFEST_NAME])) is not None:
        if absent := sorted(digests.keys() - by_path.keys()):
            raise ArtifactError(f"{absent[0]} is missing although the manifest lists it; publish the model again.")
        listed = [replace(by_path[name], digest=digest) for name, digest in digests.items()]
        return select([by_path[MANIFEST_NAME], *listed])
    files = [file for file in listing.files if file.path != MANIFEST_NAME]
    indexes = [file for file in files if file.path.endswith(SAFETENSORS_INDEX) and "/" not in file.path]
    main = next((file for file in indexes if file.path == f"model{SAFETENSORS_INDEX}"), indexes[0] if indexes else None)
    shards = read_index(_read(source, main), main.path).values() if main else ()
    return select(files, shards, scripts=scripts)


def _read_digests(source: Source, file: RemoteFile) -> dict[str, str] | None:
    """The digests of our manifest; None for a file of this name that means something else."""
    try:
        document = json.loads(_read(source, file))
    except (ValueError, RecursionError):
        return None
    digests = document.get("digests") if isinstance(document, dict) else None
    return {str(name): str(digest) for name, digest in digests.items()} if isinstance(digests, dict) else None


def _read(source: Source, file: RemoteFile) -> bytes:
    with source.open(file) as reader:
        content = reader.read(INDEX_LIMIT_BYTES + 1)
    if len(content) > INDEX_LIMIT_BYTES:
        raise ArtifactError(f"{file.path} is larger than {INDEX_LIMIT_BYTES >> 20} MiB, which no such file is.")
    return content


def _fill(
    settings: FetchSettings,
    store: Store,
    staging: Path,
    source: Source,
    listing: Listing,
    selection: Selection,
    watch: Callable[[Progress], None],
) -> Fetched:
    total = selection.total_bytes
    if total > settings.limit_bytes:
        raise ArtifactError(f"{settings.address} has {total:,} bytes, above the limit of {settings.limit_bytes:,}.")
    present = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
    if total - present > (free := store.free_bytes()):
        raise ArtifactError(
            f"{settings.address} needs {total - present:,} bytes and {free:,} are free; "
            "use a larger volume or empty the node's cache."
        )
    _log.info(
        "Fetching %s at %s: %d of %d files, %.1f MB, format %s.",
        settings.address,
        listing.revision,
        len(selection.files),
        len(listing.files),
        total / 1e6,
        selection.format,
    )
    progress = Progress(total)
    watch(progress)
    content = staging / _CONTENT
    content.mkdir(exist_ok=True)
    Transfer(source, content, progress, settings.limit_bytes, settings.parallel).fetch(selection.files)
    try:
        if not listing.lasting and source.list_files().revision != listing.revision:
            raise ArtifactError(f"{settings.address} changed while it was fetched; nothing of it is kept.")
        content = _check(content, selection, settings)
    except ArtifactError:
        shutil.rmtree(staging)
        raise
    rows = [[file.path, file.size] for file in DirectorySource(content).list_files().files]
    pins = sorted([file.path, file.digest or file.tag] for file in selection.files)
    fetched = Fetched(
        str(settings.address),
        listing.revision,
        bytes_digest(json.dumps([rows, pins]).encode()),
        sum(path.stat().st_size for path in content.rglob("*") if path.is_file()),
    )
    store.publish(content, fetched)
    return fetched


def _check(content: Path, selection: Selection, settings: FetchSettings) -> Path:
    """Check what was fetched, without trusting it; returns the directory of the model."""
    if selection.format == "archive":
        return _unpack(content / selection.files[0].path, content / "unpacked", settings)
    if selection.format == "manifest":
        verify_files(content, read_manifest(content))
    else:
        check_weights(content, selection.weights)
    return content


def _unpack(archive: Path, content: Path, settings: FetchSettings) -> Path:
    """Unpack an archive and keep of it what would have been fetched from a directory."""
    unpack(archive, content, settings.limit_bytes)
    entries = list(content.iterdir())
    while len(entries) == 1 and entries[0].is_dir():
        content = entries[0]
        entries = list(content.iterdir())
    source = DirectorySource(content)
    listing = source.list_files()
    check_paths(listing.files)
    selection = _select(source, listing, scripts=settings.scripts)
    if selection.format == "archive":
        raise ArtifactError(f"{archive.name} holds another archive; pack the model's files themselves.")
    kept = {file.path for file in selection.files}
    for file in listing.files:
        if file.path not in kept:
            Path(file.location).unlink()
    return _check(content, selection, settings)
