"""Unpacking a model's archive: inside its directory, within its limit, plain files only."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Final

from modelservice_workers.common.errors import ArtifactError

_CHUNK_BYTES: Final = 1 << 20
_FILES_LIMIT: Final = 100_000


def unpack(archive: Path, directory: Path, limit_bytes: int) -> None:
    """Unpack a tar or zip file into a new directory; on an ArtifactError nothing of it is left.

    Raises ArtifactError with the entry's name for links, devices and paths that leave the directory, and when the
    content grows above `limit_bytes`.
    """
    directory.mkdir()
    try:
        _unpack(archive, directory, limit_bytes)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        shutil.rmtree(directory)
        raise ArtifactError(f"{archive.name} cannot be unpacked: {error}; pack the model's files again.") from error
    except BaseException:
        shutil.rmtree(directory)
        raise


def _unpack(archive: Path, directory: Path, limit_bytes: int) -> None:
    left = limit_bytes
    for count, (name, reader) in enumerate(_read_entries(archive)):
        if count >= _FILES_LIMIT:
            raise ArtifactError(f"{archive.name} holds more than {_FILES_LIMIT:,} files, which is no model.")
        target = directory / _inside(archive, name)
        if target.exists():
            raise ArtifactError(f"{archive.name} holds {name} twice; pack the model's files again.")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while chunk := reader.read(_CHUNK_BYTES):
                left -= len(chunk)
                if left < 0:
                    raise ArtifactError(
                        f"{archive.name} grows above {limit_bytes:,} bytes at {name}; raise the limit if that is right."
                    )
                file.write(chunk)


def _read_entries(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for member in opened.infolist():
                mode = member.external_attr >> 16
                if member.is_dir():
                    _inside(archive, member.filename)
                    continue
                if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                    raise _refused(archive, member.filename, "is a link or device")
                with opened.open(member) as reader:
                    yield member.filename, reader
        return
    with tarfile.open(archive, "r:*") as packed:
        for entry in packed:
            if entry.isdir():
                _inside(archive, entry.name)
                continue
            content = packed.extractfile(entry) if entry.isreg() else None
            if content is None:
                raise _refused(archive, entry.name, "is a link or device")
            yield entry.name, content


def _inside(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise _refused(archive, name, "lies outside the model's directory")
    return path


def _refused(archive: Path, name: str, reason: str) -> ArtifactError:
    return ArtifactError(f"{archive.name} holds {name!r}, which {reason}; pack plain files only.")
