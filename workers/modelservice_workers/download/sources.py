"""Where models come from: object stores, web servers, volumes and the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, Protocol

import fsspec
from fsspec.implementations.http import HTTPFileSystem

from modelservice_workers.common.artifacts import MANIFEST_NAME, bytes_digest
from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.download.addresses import Address
from modelservice_workers.download.explanation import explained
from modelservice_workers.download.listing import Listing, RemoteFile, fingerprint

_TAGS: Final = ("ETag", "etag", "md5Hash", "md5", "mtime", "Last-Modified")
_MANIFEST_LIMIT_BYTES: Final = 1 << 20


class Source(Protocol):
    """One place that holds a model."""

    def list_files(self) -> Listing:
        """Every file at the pinned revision, or at the newest one; raises ArtifactError."""

    def open(self, file: RemoteFile) -> BinaryIO:
        """A reader of one listed file; seekable where the size is known."""


def open_source(address: Address, revision: str = "") -> Source:
    """The source of an address; the hub keeps to a `revision` that an earlier listing gave."""
    if address.scheme == "hf":
        from modelservice_workers.download.hub import open_repository  # noqa: PLC0415 - a second to import

        return open_repository(address, revision or address.revision)
    return StoreSource(address, fsspec.filesystem(address.scheme, skip_instance_cache=True))


@dataclass(frozen=True, slots=True)
class StoreSource:
    """A bucket, a directory, or a web server; a web server has no listing, so it gives one file or a manifest."""

    address: Address
    filesystem: Any

    def list_files(self) -> Listing:
        """Every file below the address; the revision is a fingerprint of names, sizes and tags."""
        with explained(self.address):
            files = tuple(self._find_on_web() if isinstance(self.filesystem, HTTPFileSystem) else self._find())
        if not files:
            raise ArtifactError(f"{self.address} holds no file; check the storage URI.")
        return Listing(fingerprint(files), files)

    def _find(self) -> Iterator[RemoteFile]:
        root = self.address.place.rstrip("/")
        if self.filesystem.isfile(root):
            yield _remote(PurePosixPath(root).name, root, self.filesystem.info(root))
            return
        for location, info in self.filesystem.find(root, detail=True).items():
            path = location.removeprefix(root).lstrip("/")
            if info.get("islink"):
                raise ArtifactError(f"{self.address} holds the link {path}; a model is made of plain files.")
            if path and info["type"] == "file":
                yield _remote(path, location, info)

    def _find_on_web(self) -> Iterator[RemoteFile]:
        root = str(self.address).rstrip("/")
        if self.address.file_name:
            yield _remote(self.address.file_name, root, self.filesystem.info(root))
            return
        location = f"{root}/{MANIFEST_NAME}"
        with self.filesystem.open(location, "rb", block_size=0) as reader:
            content = reader.read(_MANIFEST_LIMIT_BYTES)
        try:
            names = {str(name): str(digest) for name, digest in json.loads(content)["digests"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ArtifactError(
                f"{location} is no manifest of a model; give the address of a manifest's folder or of a file."
            ) from None
        yield RemoteFile(MANIFEST_NAME, len(content), location, bytes_digest(content))
        for name, digest in names.items():
            info = self.filesystem.info(f"{root}/{name}")
            yield RemoteFile(name, info.get("size"), f"{root}/{name}", digest, _tag(info))

    def open(self, file: RemoteFile) -> BinaryIO:
        """A reader of one file of the listing."""
        options = {"block_size": 0} if file.size is None else {"cache_type": "none"}
        with explained(self.address):
            reader: BinaryIO = self.filesystem.open(file.location, "rb", **options)
        return reader


@dataclass(frozen=True, slots=True)
class DirectorySource:
    """A directory that was unpacked here."""

    directory: Path

    def list_files(self) -> Listing:
        """Every file below the directory."""
        paths = sorted(path for path in self.directory.rglob("*") if path.is_file())
        files = [
            RemoteFile(path.relative_to(self.directory).as_posix(), path.stat().st_size, str(path)) for path in paths
        ]
        return Listing(fingerprint(files), tuple(files))

    def open(self, file: RemoteFile) -> BinaryIO:
        """A reader of one file."""
        return Path(file.location).open("rb")


def _remote(path: str, location: str, info: dict[str, Any]) -> RemoteFile:
    return RemoteFile(path, info.get("size"), location, tag=_tag(info))


def _tag(info: dict[str, Any]) -> str:
    return next((str(info[key]) for key in _TAGS if info.get(key)), "")
