"""The container of a torch.export program, checked before torch opens it.

A .pt2 file is a ZIP archive. Torch would also unpickle objects and load native libraries that such an archive
holds, which runs whatever its author wants; this check lets only tensors, JSON and example inputs pass.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Final

from modelservice_workers.common.errors import ArtifactError

_ALLOWED: Final = re.compile(
    r"""archive_format | archive_version | byteorder | \.data/(version|serialization_id)
    | models/model\.json
    | data/weights/(weight_\d+ | model_weights_config\.json)
    | data/constants/(tensor_\d+ | model_constants_config\.json)
    | data/sample_inputs/model\.pt
    | extra/.+""",
    re.VERBOSE,
)
_PROGRAM: Final = "models/model.json"
_CONFIGS: Final = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_SAMPLE_INPUTS: Final = "data/sample_inputs/model.pt"


def check_archive(path: Path) -> bytes:
    """Check that a .pt2 file holds a program and nothing that runs on loading.

    Returns the serialized example inputs, which must be read with weights only; raises ArtifactError.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _check_members(path, archive)
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist; check the storage URI and that the volume holds it.") from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError):
        raise ArtifactError(f"{path} is not a .pt2 file; save the model with torch.export.save.") from None
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}.") from None


def _check_members(path: Path, archive: zipfile.ZipFile) -> bytes:
    members = archive.infolist()
    roots = {member.filename.partition("/")[0] for member in members}
    names = {member.filename.partition("/")[2]: member for member in members}
    if len(roots) != 1 or _PROGRAM not in names:
        raise ArtifactError(f"{path} is not a .pt2 file; save the model with torch.export.save.")
    if len({name.lower() for name in names}) != len(members):
        raise ArtifactError(f"{path} holds a file twice; save the model again with torch.export.save.")
    for name, member in names.items():
        if not _ALLOWED.fullmatch(name) or member.compress_type != zipfile.ZIP_STORED:
            raise ArtifactError(
                f"{path} holds {name}, which this worker does not load because it could run code; "
                "export a plain program with torch.export.save."
            )
    for name in _CONFIGS:
        if name in names:
            _check_config(path, name, archive.read(names[name]))
    return archive.read(names[_SAMPLE_INPUTS]) if _SAMPLE_INPUTS in names else b""


def _check_config(path: Path, name: str, content: bytes) -> None:
    try:
        entries = json.loads(content)["config"]
        pickled = sorted(key for key, entry in entries.items() if entry["use_pickle"] is not False)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ArtifactError(f"{path} has a damaged {name}; save the model again with torch.export.save.") from None
    if pickled:
        raise ArtifactError(
            f"{path} stores {pickled[0]} as a pickle, which could run code; export the model with plain tensors."
        )
