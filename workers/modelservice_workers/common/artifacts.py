"""Model artifacts: a directory of files and a manifest that names and pins them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.common.signature import Signature, parse_signature

MANIFEST_NAME: Final = "manifest.json"
MODEL_NAME: Final = "model.pt2"
EXPORT_FORMAT: Final = "torch.export"
MANIFEST_VERSION: Final = 1

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_CHUNK_BYTES: Final = 1 << 20
_MANIFEST_LIMIT_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an artifact is; `digests` maps each file's relative path to "sha256:<hex>".

    `engine` names what is to compute it where its format leaves a choice; `dtype` is the datatype of most weights.
    """

    format: str
    signature: Signature
    digests: Mapping[str, str]
    lineage: Mapping[str, str]
    engine: str | None = None
    dtype: str | None = None

    def to_bytes(self) -> bytes:
        """The manifest as its file holds it."""
        document = {
            "version": MANIFEST_VERSION,
            "format": self.format,
            "signature": self.signature.to_json(),
            "digests": dict(sorted(self.digests.items())),
            "lineage": dict(sorted(self.lineage.items())),
        }
        chosen = {"engine": self.engine, "dtype": self.dtype}
        document.update({key: text for key, text in chosen.items() if text is not None})
        return json.dumps(document, indent=2).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """An artifact on disk, described so that a reader can tell whether it is the one meant."""

    manifest: Manifest
    digest: str
    size_bytes: int


def read_manifest(directory: Path) -> Manifest:
    """Read and check the manifest of an artifact directory; raises ArtifactError."""
    path = directory / MANIFEST_NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ArtifactError(
            f"{directory} has no {MANIFEST_NAME}; point the storage URI at a published artifact or at a .pt2 file."
        ) from None
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}.") from None
    if len(content) > _MANIFEST_LIMIT_BYTES:
        raise ArtifactError(f"{path} is larger than 1 MiB and is no manifest.")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is not valid JSON: {error}.") from None
    return _parse_manifest(document, path)


def _parse_manifest(document: object, path: Path) -> Manifest:
    if not isinstance(document, dict):
        raise ArtifactError(f"{path} must hold a JSON object.")
    if document.get("version") != MANIFEST_VERSION:
        raise ArtifactError(f"{path} has version {document.get('version')!r}; this worker reads {MANIFEST_VERSION}.")
    if not isinstance(document.get("format"), str):
        raise ArtifactError(f"{path} names no format.")
    digests = _parse_texts(document, "digests", path)
    lineage = _parse_texts(document, "lineage", path)
    for name, digest in digests.items():
        if not _is_inside(name):
            raise ArtifactError(f"{path} names the file {name!r}, which lies outside the artifact.")
        if not _DIGEST.fullmatch(digest):
            raise ArtifactError(f"{path} gives {name} the digest {digest!r}; it must be sha256:<64 hex digits>.")
    engine, dtype = (_parse_optional(document, key, path) for key in ("engine", "dtype"))
    return Manifest(document["format"], parse_signature(document.get("signature")), digests, lineage, engine, dtype)


def _parse_optional(document: Mapping[str, Any], key: str, path: Path) -> str | None:
    value = document.get(key)
    if value is not None and not isinstance(value, str):
        raise ArtifactError(f"{path} has {value!r} for {key}; it must be a text or left out.")
    return value


def _parse_texts(document: Mapping[str, Any], key: str, path: Path) -> dict[str, str]:
    value = document.get(key)
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ArtifactError(f"{path} must have an object of texts in {key}.")
    return value


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def file_digest(path: Path) -> str:
    """The digest of a file as manifests write it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def bytes_digest(content: bytes) -> str:
    """The digest of `content` as manifests write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def verify_files(directory: Path, manifest: Manifest) -> None:
    """Compare every file that the manifest lists with its digest; raises ArtifactError with its name."""
    for name, expected in sorted(manifest.digests.items()):
        path = directory / name
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                raise ArtifactError(f"{path} is not a regular file; publish the artifact again.")
            actual = file_digest(path)
        except FileNotFoundError:
            raise ArtifactError(f"{path} is missing although the manifest lists it; publish it again.") from None
        except OSError as error:
            raise ArtifactError(f"{path} cannot be read: {error.strerror}.") from None
        if actual != expected:
            raise ArtifactError(
                f"{path} has the digest {actual[:19]}... and the manifest says {expected[:19]}...; "
                "it was changed or cut short, publish the artifact again."
            )


def list_files(directory: Path) -> Iterator[tuple[str, Path]]:
    """Relative name and path of every file below `directory`.

    Raises ArtifactError for links and special files, since they do not survive a copy to another volume.
    """
    for folder, folders, names in os.walk(directory):
        for name in sorted([*folders, *names]):
            path = Path(folder, name)
            mode = path.lstat().st_mode
            relative = path.relative_to(directory).as_posix()
            if stat.S_ISREG(mode):
                yield relative, path
            elif not stat.S_ISDIR(mode):
                raise ArtifactError(f"The output holds {relative}, which is a link or special file; write plain files.")


def read_stored(directory: Path) -> StoredArtifact:
    """Read a published artifact and verify its files; raises ArtifactError."""
    manifest = read_manifest(directory)
    verify_files(directory, manifest)
    content = (directory / MANIFEST_NAME).read_bytes()
    size = len(content) + sum((directory / name).stat().st_size for name in manifest.digests)
    return StoredArtifact(manifest, bytes_digest(content), size)
