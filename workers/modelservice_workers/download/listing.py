"""What a source holds at one revision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from modelservice_workers.common.errors import ArtifactError


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file: its path below the model's directory and its size in bytes, None where the server does not tell it.

    `location` is what its source opens; `digest` is "sha256:<hex>" where the source knows it; `tag` changes when the
    content does (an ETag, a blob id).
    """

    path: str
    size: int | None
    location: str = ""
    digest: str = ""
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """Every file of a source, and the revision that names exactly these.

    `lasting` says that the source serves these very files by their locations for ever, as a commit does.
    """

    revision: str
    files: tuple[RemoteFile, ...]
    lasting: bool = False


def fingerprint(files: Iterable[RemoteFile]) -> str:
    """A revision for sources that have none: the digest of the paths, sizes and tags."""
    rows = sorted((file.path, file.size, file.tag) for file in files)
    return f"listing-{hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:32]}"


def check_paths(files: Iterable[RemoteFile]) -> None:
    """Refuse paths that leave the target directory or fall together on disk; raises ArtifactError."""
    seen: dict[str, str] = {}
    for file in files:
        path = PurePosixPath(file.path)
        if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in file.path or "\0" in file.path:
            raise ArtifactError(f"The source names the file {file.path!r}, which lies outside the model.")
        other = seen.setdefault(path.as_posix().casefold(), file.path)
        if other != file.path:
            raise ArtifactError(f"The source holds both {other} and {file.path}, which are one file on some disks.")
