"""Publishing a training output: describe it, make it durable, and let it appear at once under its name."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from modelservice_workers.common.artifacts import (
    EXPORT_FORMAT,
    MANIFEST_NAME,
    MODEL_NAME,
    Manifest,
    StoredArtifact,
    file_digest,
    list_files,
    read_stored,
)
from modelservice_workers.common.durable import sync
from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.common.signature import Signature


def make_staging(final: Path) -> Path:
    """A new directory beside `final`, on the same volume; raises ArtifactError when it cannot be made."""
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=_staging_prefix(final), dir=final.parent))
    except OSError as error:
        raise ArtifactError(
            f"The output volume cannot be written at {final.parent}: {error.strerror}; "
            "check the claim and its access mode."
        ) from error


def _staging_prefix(final: Path) -> str:
    return f".{final.name}.staging-"


def publish(staging: Path, final: Path, lineage: Mapping[str, str]) -> StoredArtifact:
    """Check what a script left in `staging`, add the manifest, and rename it to `final`.

    When `final` holds an artifact already, that one is kept and returned; whoever published it may have removed
    `staging`. Raises ArtifactError.
    """
    try:
        _describe(staging, lineage)
        staging.rename(final)
    except ArtifactError:
        if staging.exists() or not final.exists():
            raise
    except OSError as error:
        if not final.exists():
            raise ArtifactError(f"The output could not be renamed to {final}: {error.strerror}.") from error
    sync(final.parent)
    _remove_leftovers(final)
    return read_stored(final)


def _describe(staging: Path, lineage: Mapping[str, str]) -> None:
    digests = {name: file_digest(path) for name, path in list_files(staging) if name != MANIFEST_NAME}
    manifest = Manifest(EXPORT_FORMAT, _read_signature(staging / MODEL_NAME), digests, lineage)
    (staging / MANIFEST_NAME).write_bytes(manifest.to_bytes())
    staging.chmod(0o755)
    _sync_tree(staging)


def find_published(final: Path) -> StoredArtifact | None:
    """The artifact that an earlier try of this attempt published, or None; raises ArtifactError for anything else."""
    try:
        empty = not any(final.iterdir())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ArtifactError(f"{final} cannot be read: {error.strerror}; check the output's claim and path.") from error
    return None if empty else read_stored(final)


def _remove_leftovers(final: Path) -> None:
    for leftover in final.parent.glob(_staging_prefix(final) + "*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _read_signature(model: Path) -> Signature:
    if not model.exists():
        raise ArtifactError(
            f"The training command wrote no {MODEL_NAME}; save the model with "
            f"torch.export.save to $MODELSERVICE_OUTPUT_DIR/{MODEL_NAME}."
        )
    from modelservice_workers.common.program import load_program  # noqa: PLC0415 - torch takes seconds to import

    return load_program(model).signature


def _sync_tree(directory: Path) -> None:
    for folder, _, names in os.walk(directory):
        for name in names:
            sync(Path(folder, name))
        sync(Path(folder))
