"""Copying files from a source into a directory: resumed, retried, and compared with what the source promised."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelservice_workers.common.artifacts import file_digest
from modelservice_workers.common.durable import sync
from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.download.listing import RemoteFile
from modelservice_workers.download.progress import Progress
from modelservice_workers.download.sources import Source

_CHUNK_BYTES: Final = 8 << 20
_STREAM_CHUNK_BYTES: Final = 1 << 20
_TRIES: Final = 6
_PART: Final = ".part"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Transfer:
    """Fetches files of one source into `directory`; `pause_seconds` is the first wait before a new try."""

    source: Source
    directory: Path
    progress: Progress
    limit_bytes: int
    parallel: int = 4
    pause_seconds: float = 1.0

    def fetch(self, files: Iterable[RemoteFile]) -> None:
        """Fetch all files; what is there already and right is kept. Raises ArtifactError."""
        stop = threading.Event()
        with ThreadPoolExecutor(self.parallel, thread_name_prefix="fetch") as pool:
            futures = [pool.submit(self._fetch_file, file, stop) for file in sorted(files, key=lambda file: file.path)]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            failed = next((future for future in done if future.exception()), None)
            if failed is not None:
                stop.set()
                pool.shutdown(cancel_futures=True)
                failed.result()

    def _fetch_file(self, file: RemoteFile, stop: threading.Event) -> None:
        final = self.directory / file.path
        if final.exists():
            self.progress.add(final.stat().st_size, fetched=False)
            return
        final.parent.mkdir(parents=True, exist_ok=True)
        part = final.with_name(f"{final.name}{_PART}")
        if file.size is None:
            part.unlink(missing_ok=True)
        elif part.exists() and part.stat().st_size > file.size:
            part.unlink()
        resumed = part.stat().st_size if part.exists() else 0
        self.progress.add(resumed, fetched=False)
        if not self._copy_with_retries(file, part, stop):
            return
        if resumed and file.digest and file_digest(part) != file.digest:
            self.progress.add(-part.stat().st_size, fetched=False)
            part.unlink()
            if not self._copy_with_retries(file, part, stop):
                return
        _verify(file, part)
        sync(part)
        part.rename(final)

    def _copy_with_retries(self, file: RemoteFile, part: Path, stop: threading.Event) -> bool:
        """Copy what is missing; each try that brings bytes starts the count of tries anew. False: told to stop."""
        tries = 0
        while not stop.is_set():
            before = part.stat().st_size if part.exists() else 0
            try:
                if self._copy(file, part, stop):
                    return True
                error: Exception | None = None
            except ArtifactError:
                raise
            except Exception as raised:
                error = raised
                if getattr(raised, "errno", None) == errno.EBUSY:  # how s3fs says that the object is another one now
                    part.unlink(missing_ok=True)
                    raise ArtifactError(f"{file.path} changed while it was fetched; nothing is kept.") from raised
            size = part.stat().st_size if part.exists() else 0
            if file.size is None:
                self.progress.add(-size, fetched=False)
                part.unlink(missing_ok=True)
            tries = 1 if size > before and file.size is not None else tries + 1
            if tries >= _TRIES:
                raise ArtifactError(
                    f"{file.path} could not be fetched in {_TRIES} tries: {error or 'the server sends no more bytes'}."
                ) from error
            _log.warning("%s stopped at %d bytes (%s); trying again.", file.path, size, error)
            stop.wait(self.pause_seconds * 2 ** (tries - 1))
        return False

    def _copy(self, file: RemoteFile, part: Path, stop: threading.Event) -> bool:
        """Append to the part what is missing; returns whether it is whole."""
        with self.source.open(file) as reader, part.open("ab") as writer:
            offset = writer.tell()
            if offset:
                reader.seek(offset)
            while not stop.is_set() and offset != file.size:
                wanted = _STREAM_CHUNK_BYTES if file.size is None else min(_CHUNK_BYTES, file.size - offset)
                chunk = reader.read(wanted)
                if not chunk:
                    return file.size is None
                offset += len(chunk)
                if file.size is None and offset > self.limit_bytes:
                    raise ArtifactError(f"{file.path} grows above {self.limit_bytes:,} bytes; nothing of it is kept.")
                writer.write(chunk)
                self.progress.add(len(chunk))
            return offset == file.size


def _verify(file: RemoteFile, part: Path) -> None:
    if not file.digest:
        return
    actual = file_digest(part)
    if actual != file.digest:
        size = part.stat().st_size
        part.unlink()
        raise ArtifactError(
            f"{file.path} has the digest {actual[:19]}... after {size:,} bytes and its source says "
            f"{file.digest[:19]}...; it was changed or damaged, upload it again."
        )
