"""Which engines load which formats."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Final

from modelservice_workers.common.artifacts import EXPORT_FORMAT
from modelservice_workers.common.errors import ArtifactError
from modelservice_workers.serving.engines.source import LoadedEngine, LoadOptions, Source

ONNX_FORMAT: Final = "onnx"
OPENVINO_FORMAT: Final = "openvino"
HUGGINGFACE_FORMAT: Final = "huggingface"


@dataclass(frozen=True, slots=True)
class _Entry:
    module: str
    formats: tuple[str, ...]
    extra: str


_ENGINES: Final = {
    "torch": _Entry("torch_program", (EXPORT_FORMAT,), "workers"),
    "onnxruntime": _Entry("onnx_runtime", (ONNX_FORMAT,), "onnx"),
    "openvino": _Entry("openvino_runtime", (OPENVINO_FORMAT, ONNX_FORMAT), "openvino"),
    "transformers": _Entry("transformers_text", (HUGGINGFACE_FORMAT,), "huggingface"),
}

# The file of a model in a directory; None where the directory itself is the model.
MODEL_FILES: Final = {
    EXPORT_FORMAT: "model.pt2",
    ONNX_FORMAT: "model.onnx",
    OPENVINO_FORMAT: "model.xml",
    HUGGINGFACE_FORMAT: None,
}

# Formats whose file is the whole model; engines of the others open what lies beside it, by names that the model says.
SELF_CONTAINED: Final = frozenset({EXPORT_FORMAT})

SUFFIXES: Final = {".pt2": EXPORT_FORMAT, ".onnx": ONNX_FORMAT, ".xml": OPENVINO_FORMAT}


def choose_engine(name: str, wanted: str | None) -> str:
    """The engine for a format: the wanted one, else the first that loads it; raises ArtifactError."""
    able = [engine for engine, entry in _ENGINES.items() if name in entry.formats]
    if not able:
        raise ArtifactError(f"The artifact has the format {name!r}; this worker loads {', '.join(MODEL_FILES)}.")
    if wanted is None:
        return able[0]
    if wanted not in able:
        raise ArtifactError(
            f"The artifact asks for the engine {wanted!r}; a model of the format {name!r} is loaded by "
            f"{' or '.join(able)}."
        )
    return wanted


def load_engine(source: Source, options: LoadOptions) -> LoadedEngine:
    """Load a model with its engine; raises ArtifactError or HardwareError."""
    entry = _ENGINES[source.engine]
    try:
        module = importlib.import_module(f"{__package__}.{entry.module}")
    except ModuleNotFoundError as error:
        raise ArtifactError(
            f"{source.path} needs the engine {source.engine}, and this image does not have {error.name}; use an image "
            f"with the extra {entry.extra!r} or publish the model in another format."
        ) from None
    loaded: LoadedEngine = module.load(source, options)
    return loaded
