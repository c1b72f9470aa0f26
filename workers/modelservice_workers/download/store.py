"""Where fetched models lie: a directory that appears when it is whole, once for each node when a cache is given."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from modelservice_workers.common.durable import sync
from modelservice_workers.common.errors import ArtifactError

MARKER_NAME: Final = ".modelservice-fetched.json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a directory holds: its address and revision, a digest over its files, and its size in bytes."""

    address: str
    revision: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Store:
    """The place of one model: `target` is what the engine opens; with a `cache` it is a link into it."""

    target: Path
    cache: Path | None = None

    def find(self, address: str, revision: str) -> Fetched | None:
        """What the target holds already, when it is this model; raises ArtifactError for another one."""
        found = _read_marker(self.target)
        if found is None:
            if self.target.exists() and not self.target.is_symlink():
                raise ArtifactError(f"{self.target} holds files that were not fetched here; give an empty place.")
            return None
        if found.address != address or (revision and found.revision != revision):
            raise ArtifactError(
                f"{self.target} holds {found.address} at {found.revision} already; give an empty place for {address}."
            )
        return found

    @contextmanager
    def reserve(self, address: str, revision: str) -> Iterator[Path]:
        """The directory in which this model is put together; the same one for each try, for one process at a time."""
        home = self._home(address, revision)
        home.parent.mkdir(parents=True, exist_ok=True)
        with _locked(home.with_name(f".{home.name}.lock"), address):
            staging = self._staging(address, revision)
            for other in home.parent.glob(f".{glob.escape(home.name)}.*.part"):
                if other != staging:  # what an earlier try left of another revision must not get into this one
                    shutil.rmtree(other)
            staging.mkdir(exist_ok=True)
            yield staging

    def cached(self, address: str, revision: str) -> Fetched | None:
        """What the node's cache holds of this model; links the target to it."""
        home = self._home(address, revision)
        found = _read_marker(home)
        if found is not None and home != self.target:
            self._link(home)
        return found

    def publish(self, content: Path, fetched: Fetched) -> None:
        """Write the marker and let the directory appear under its name, at once."""
        home = self._home(fetched.address, fetched.revision)
        (content / MARKER_NAME).write_text(json.dumps(asdict(fetched), indent=2))
        content.chmod(0o755)
        sync(content / MARKER_NAME)
        sync(content)
        content.rename(home)
        shutil.rmtree(self._staging(fetched.address, fetched.revision), ignore_errors=True)
        sync(home.parent)
        if home != self.target:
            self._link(home)

    def free_bytes(self) -> int:
        """Bytes free where the model is put together."""
        place = self.cache or self.target.parent
        place.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(place).free

    def _home(self, address: str, revision: str) -> Path:
        if self.cache is None:
            return self.target
        return self.cache / _name(address, revision)

    def _staging(self, address: str, revision: str) -> Path:
        home = self._home(address, revision)
        return home.with_name(f".{home.name}.{_name(address, revision)}.part")

    def _link(self, home: Path) -> None:
        link = self.target.with_name(f".{self.target.name}.link")
        link.unlink(missing_ok=True)
        self.target.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(home)
        link.rename(self.target)


def _name(address: str, revision: str) -> str:
    return hashlib.sha256(json.dumps([address, revision]).encode()).hexdigest()[:24]


def _read_marker(directory: Path) -> Fetched | None:
    try:
        return Fetched(**json.loads((directory / MARKER_NAME).read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ArtifactError(f"{directory / MARKER_NAME} is damaged; remove {directory}.") from error


@contextmanager
def _locked(path: Path, address: str) -> Iterator[None]:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.info("Another pod of this node fetches %s; waiting for it.", address)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
