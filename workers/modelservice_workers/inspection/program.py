"""Programs of torch.export: the tensors that the archive of a .pt2 file lists, without PyTorch."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Final

from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.inspection.facts import Weights

_CONFIGS: Final = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_PROGRAM: Final = "models/model.json"
_LIMIT_BYTES: Final = 64 << 20
# Numbers of torch's export schema.
_TYPES: Final = {
    1: ("UINT8", 1), 2: ("INT8", 1), 3: ("INT16", 2), 4: ("INT32", 4), 5: ("INT64", 8), 6: ("FP16", 2), 7: ("FP32", 4),
    8: ("FP64", 8), 12: ("BOOL", 1), 13: ("BF16", 2), 28: ("UINT16", 2), 29: ("FP8_E4M3", 1), 30: ("FP8_E5M2", 1),
    34: ("UINT32", 4), 35: ("UINT64", 8),
}  # fmt: skip


def read_program(path: Path) -> Weights:
    """Count the tensors of a .pt2 file, those that are no parameters only in bytes; raises ArtifactError."""
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            return _count(archive, size)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}.") from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, KeyError, TypeError) as error:
        why = f" ({error.args[0]})" if isinstance(error, zipfile.BadZipFile) and error.args else ""
        raise ArtifactError(f"{path} is no whole .pt2 file{why}; save the model with torch.export.save.") from None
    except (IndexError, OverflowError, AttributeError, zipfile.LargeZipFile):
        raise ArtifactError(f"{path} is no whole .pt2 file; save the model with torch.export.save.") from None


def _count(archive: zipfile.ZipFile, size: int) -> Weights:
    members = {member.filename.partition("/")[2]: member for member in archive.infolist()}
    if _PROGRAM not in members or _CONFIGS[0] not in members:
        raise ValueError
    bytes_of: dict[str, int] = {}
    parameters = 0
    for config in (members[name] for name in _CONFIGS if name in members):
        if config.file_size > _LIMIT_BYTES or config.compress_type != zipfile.ZIP_STORED:
            raise ValueError
        for entry in json.loads(archive.read(config))["config"].values():
            if entry["use_pickle"]:
                continue
            datatype, width = _TYPES[entry["tensor_meta"]["dtype"]]
            sizes = [dimension["as_int"] for dimension in entry["tensor_meta"]["sizes"]]
            elements = math.prod(sizes)
            if not all(type(one) is int and one >= 0 for one in sizes) or elements * width > size:
                raise ValueError
            bytes_of[datatype] = bytes_of.get(datatype, 0) + elements * width
            parameters += elements if entry["is_param"] else 0
    return Weights(parameters, bytes_of)
