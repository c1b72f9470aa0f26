"""Models of the Hugging Face hub, or of a server that speaks its protocol (`HF_ENDPOINT`, `HF_TOKEN`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from huggingface_hub import HfApi, HfFileSystem
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.download.addresses import Address
from modelservice_workers.download.explanation import explained, forbidden, missing
from modelservice_workers.download.listing import Listing, RemoteFile


def open_repository(address: Address, revision: str) -> HubSource:
    """The source of a repository at a branch, tag or commit; "" is its main branch."""
    return HubSource(address, revision, HfFileSystem(skip_instance_cache=True))


@dataclass(frozen=True, slots=True)
class HubSource:
    """A model repository of the Hugging Face hub; its files are pinned to the commit that the listing found."""

    address: Address
    revision: str
    filesystem: HfFileSystem

    def list_files(self) -> Listing:
        """The repository's files, with the digests of those that the hub keeps as large files."""
        with _explained_by_hub(self.address):
            info = HfApi().model_info(self.address.place, revision=self.revision or None, files_metadata=True)
        prefix = self.address.path
        files = tuple(
            RemoteFile(
                _below(sibling.rfilename, prefix),
                sibling.lfs.size if sibling.lfs else sibling.size,
                f"{self.address.place}@{info.sha}/{sibling.rfilename}",
                f"sha256:{sibling.lfs.sha256}" if sibling.lfs else "",
                sibling.blob_id or "",
            )
            for sibling in info.siblings or ()
            if _is_below(sibling.rfilename, prefix)
        )
        if not files or not info.sha:
            raise ArtifactError(f"{self.address} holds no file; check the path after the repository's name.")
        return Listing(info.sha, files, lasting=True)

    def open(self, file: RemoteFile) -> BinaryIO:
        """A reader of the file at the pinned commit."""
        with _explained_by_hub(self.address):
            reader: BinaryIO = self.filesystem.open(file.location, "rb", cache_type="none")
        return reader


@contextmanager
def _explained_by_hub(address: Address) -> Iterator[None]:
    with explained(address):
        try:
            yield
        except GatedRepoError as error:
            raise forbidden(address) from error
        except RevisionNotFoundError as error:
            raise ArtifactError(f"{address} has no such revision; check the text after '@'.") from error
        except (RepositoryNotFoundError, EntryNotFoundError) as error:
            raise missing(address) from error


def _is_below(name: str, prefix: str) -> bool:
    return not prefix or name == prefix or name.startswith(f"{prefix}/")


def _below(name: str, prefix: str) -> str:
    return PurePosixPath(name).name if name == prefix else name.removeprefix(f"{prefix}/" if prefix else "")
