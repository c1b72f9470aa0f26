"""Which files of a listing make the model: one copy of its weights, and what goes with them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal

from modelservice_workers.common.artifacts import MANIFEST_NAME
from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.common.weightfiles import PICKLES
from modelservice_workers.download.listing import RemoteFile

Format = Literal["manifest", "safetensors", "torch.export", "onnx", "openvino", "gguf", "archive"]

ARCHIVE_SUFFIXES: Final = (".tar", ".tar.gz", ".tgz", ".zip")
SAFETENSORS_INDEX: Final = ".safetensors.index.json"

_OTHER_FRAMEWORKS: Final = (".msgpack", ".h5", ".ot", ".tflite", ".mlmodel", ".pb", ".engine", ".llamafile")
_HEAVY: Final = (*PICKLES, *_OTHER_FRAMEWORKS, ".safetensors", ".gguf", ".onnx", ".onnx_data", ".data", ".pt2")
_SHARD: Final = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.\w+)")
_SUFFIXES: Final[Sequence[tuple[Format, str]]] = (
    ("safetensors", ".safetensors"),
    ("torch.export", ".pt2"),
    ("onnx", ".onnx"),
    ("openvino", ".xml"),
    ("gguf", ".gguf"),
)


@dataclass(frozen=True, slots=True)
class Selection:
    """What to fetch: the format, all files, and the names of those that hold weights."""

    format: Format
    files: tuple[RemoteFile, ...]
    weights: frozenset[str]

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights, as far as the source tells sizes."""
        return sum(file.size or 0 for file in self.files if file.path in self.weights)

    @property
    def total_bytes(self) -> int:
        """Bytes of everything to fetch, as far as the source tells sizes."""
        return sum(file.size or 0 for file in self.files)


def select(files: Iterable[RemoteFile], indexed: Iterable[str] = (), *, scripts: bool = False) -> Selection:
    """Choose one copy of the weights and the small files beside them; raises ArtifactError.

    `indexed` names the shards that an index file lists, when there is one; `scripts` keeps Python files, which a
    model that runs its own code needs.
    """
    by_path = {file.path: file for file in files}
    if MANIFEST_NAME in by_path:
        return Selection("manifest", tuple(by_path.values()), frozenset(by_path) - {MANIFEST_NAME})
    if len(by_path) == 1 and next(iter(by_path)).endswith(ARCHIVE_SUFFIXES):
        return Selection("archive", tuple(by_path.values()), frozenset(by_path))
    for kind, suffix in _SUFFIXES:
        weights = _weights(kind, suffix, by_path, frozenset(indexed))
        if weights:
            kept = weights | {path for path in by_path if _goes_with(path, by_path, scripts=scripts)}
            return Selection(kind, tuple(by_path[path] for path in sorted(kept)), weights)
    raise _no_weights(by_path)


def _weights(kind: Format, suffix: str, by_path: dict[str, RemoteFile], indexed: frozenset[str]) -> frozenset[str]:
    top = sorted(path for path in by_path if path.endswith(suffix) and "/" not in path)
    if kind == "openvino":
        top = [path for path in top if f"{path.removesuffix('.xml')}.bin" in by_path]
    if not top:
        return frozenset()
    chosen = _choose(kind, top, by_path, indexed)
    if kind == "onnx":
        chosen |= {path for path in by_path if any(path.startswith(name) and path != name for name in chosen)}
    if kind == "openvino":
        chosen |= {f"{path.removesuffix('.xml')}.bin" for path in chosen}
    if kind == "safetensors":
        chosen |= {path for path in by_path if path.endswith(suffix) and _is_part(path, by_path)}
    return frozenset(chosen)


def _choose(kind: Format, top: list[str], by_path: dict[str, RemoteFile], indexed: frozenset[str]) -> set[str]:
    if kind == "safetensors" and indexed:
        if missing := sorted(indexed - by_path.keys()):
            raise ArtifactError(
                f"The index names files that do not exist: {missing[0]}"
                f"{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}; upload them or the right index."
            )
        return set(indexed)
    if len(top) == 1 and not _SHARD.fullmatch(top[0]):
        return set(top)
    sets: dict[str, set[str]] = {}
    for path in top:
        match = _SHARD.fullmatch(path)
        sets.setdefault(f"{match['stem']}-of-{match['count']}" if match else path, set()).add(path)
    if kind == "safetensors" and "model.safetensors" in sets:
        return sets["model.safetensors"]
    if kind == "safetensors" and len(sets) > 1:
        sets = {name: paths for name, paths in sets.items() if not name.startswith("consolidated")}
    if len(sets) > 1:
        names = ", ".join(sorted(min(paths) for paths in sets.values())[:6])
        raise ArtifactError(f"The source holds several models: {names}; end the storage URI with the one meant.")
    paths = next(iter(sets.values()))
    match = _SHARD.fullmatch(min(paths))
    if match is not None and len(paths) != int(match["count"]):
        present = {int(found["number"]) for path in paths if (found := _SHARD.fullmatch(path))}
        absent = next(number for number in range(1, int(match["count"]) + 1) if number not in present)
        name = f"{match['stem']}-{absent:05d}-of-{match['count']}{match['suffix']}"
        raise ArtifactError(f"The shard {name} is missing; upload it, or the model would answer nonsense.")
    return paths


def _is_part(path: str, by_path: dict[str, RemoteFile]) -> bool:
    """Whether weights in a folder belong to the model, as the layers of sentence-transformers do."""
    folder = PurePosixPath(path).parent
    return folder != PurePosixPath() and f"{folder}/config.json" in by_path and "modules.json" in by_path


def _goes_with(path: str, by_path: dict[str, RemoteFile], *, scripts: bool) -> bool:
    name = PurePosixPath(path)
    if name.suffix.lower() in _HEAVY or name.name.startswith(".") or name.suffix == ".xml":
        return False
    if name.suffix == ".py" and not scripts:
        return False
    folder = name.parent
    if folder == PurePosixPath():
        return not path.endswith(".index.json") or path.endswith(SAFETENSORS_INDEX)
    return "modules.json" in by_path and f"{folder}/config.json" in by_path


def _no_weights(by_path: dict[str, RemoteFile]) -> ArtifactError:
    pickles = sorted(path for path in by_path if path.endswith(PICKLES))
    if pickles:
        return ArtifactError(
            f"The source holds its weights only as a pickle ({pickles[0]}), which could run code when it is read; "
            "save them as safetensors, or export the model as .pt2."
        )
    return ArtifactError(
        f"The source holds no weights among its {len(by_path)} files; "
        "a model needs safetensors, .pt2, .onnx, OpenVINO or .gguf files."
    )
