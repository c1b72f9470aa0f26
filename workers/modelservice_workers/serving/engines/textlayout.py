"""What the files of a Hugging Face directory say: its task, its pooling, how long texts may be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from modelservice_workers.common.errors import ArtifactError, HardwareError, RemoteCodeError

EMBEDDING: Final = "embedding"
CLASSIFICATION: Final = "classification"

POOLINGS: Final = ("cls", "mean", "max", "lasttoken")

_JSON_LIMIT_BYTES: Final = 100 << 20
_GPU_METHODS: Final = frozenset({"gptq", "awq", "bitsandbytes", "fp8", "mxfp4", "nvfp4", "exl2", "aqlm", "hqq", "eetq"})
_CLASSIFIER: Final = "ForSequenceClassification"


@dataclass(frozen=True, slots=True)
class TextLayout:
    """`pooling` is one of POOLINGS, `longest` tokens of a text are looked at; `directory` has config and weights."""

    directory: Path
    task: str
    pooling: str = "mean"
    normalize: bool = False
    lowercase: bool = False
    longest: int | None = None


def read_layout(directory: Path, *, remote_code: bool) -> TextLayout:
    """Read config.json and, where there are, the files that sentence-transformers adds.

    Raises ArtifactError for what is not served, code that may not run above all, and HardwareError for weights that
    need a GPU.
    """
    config = _read_object(directory / "config.json")
    if not remote_code:
        _refuse_code(directory / "config.json", config)
        tokenizer = directory / "tokenizer_config.json"
        _refuse_code(tokenizer, _read_object(tokenizer) if tokenizer.exists() else {})
    method = (config.get("quantization_config") or {}).get("quant_method")
    if method in _GPU_METHODS:
        raise HardwareError(
            f"The weights are quantized with {method}, for which a CPU has no kernels; serve them with a runtime for "
            "GPUs or choose another variant of the model."
        )
    if method is not None:
        raise ArtifactError(f"{directory} is quantized with {method}, which this worker does not load.")
    architectures = config.get("architectures") or []
    if any(str(name).endswith(_CLASSIFIER) for name in architectures):
        return TextLayout(directory, CLASSIFICATION)
    if (directory / "modules.json").exists():
        return _read_modules(directory)
    if architectures and not any(str(name).endswith(("Model", "MaskedLM")) for name in architectures):
        raise ArtifactError(
            f"{directory} holds a {architectures[0]}; this worker serves models for embeddings and for sequence "
            "classification. For text generation choose a runtime such as vllm or llamacpp."
        )
    return TextLayout(directory, EMBEDDING)


def _refuse_code(path: Path, config: dict[str, Any]) -> None:
    if "auto_map" not in config:
        return
    named = config["auto_map"]
    first = next(iter(named.values()), "auto_map") if isinstance(named, dict) else "auto_map"
    raise RemoteCodeError(
        f"{path} names code of its own ({first}), which runs only with MODELSERVICE_REMOTE_CODE=Allow; "
        "read the code before you set it."
    )


def _read_object(path: Path) -> dict[str, Any]:
    value = _read_json(path)
    if not isinstance(value, dict):
        raise ArtifactError(f"{path} must hold a JSON object.")
    return value


def _read_json(path: Path) -> Any:
    try:
        if path.stat().st_size > _JSON_LIMIT_BYTES:
            raise ArtifactError(f"{path} is larger than 100 MiB and is no description of a model.")
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing; download the model again.") from None
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is not valid JSON: {error}.") from None


def _read_modules(directory: Path) -> TextLayout:
    path = directory / "modules.json"
    modules = _read_json(path)
    try:
        steps = [(str(module["type"]).rpartition(".")[2], _inside(path, module["path"])) for module in modules]
    except (TypeError, KeyError):
        raise ArtifactError(f"{path} is no list of modules; download the model again.") from None
    kinds = [kind for kind, _ in steps]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ArtifactError(
            f"{path} lists {', '.join(kinds)}; this worker serves Transformer, Pooling and perhaps Normalize."
        )
    main, pooling = steps[0][1], steps[1][1]
    limits = main / "sentence_bert_config.json"
    options = _read_object(limits) if limits.exists() else {}
    longest = options.get("max_seq_length")
    return TextLayout(
        main,
        EMBEDDING,
        _read_pooling(pooling / "config.json"),
        normalize=kinds[-1] == "Normalize",
        lowercase=bool(options.get("do_lower_case")),
        longest=longest if type(longest) is int and longest > 0 else None,
    )


def _inside(modules: Path, name: object) -> Path:
    path = PurePosixPath(str(name))
    if path.is_absolute() or ".." in path.parts:
        raise ArtifactError(f"{modules} names the folder {name!r}, which lies outside the model.")
    return modules.parent / path


def _read_pooling(path: Path) -> str:
    config = _read_object(path)
    named = config.get("pooling_mode")
    prefix = "pooling_mode_"
    modes = (
        [str(named)]
        if named is not None
        else [key.removeprefix(prefix) for key, value in config.items() if key.startswith(prefix) and value is True]
    )
    known = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max"}
    chosen = [known.get(mode, mode) for mode in modes]
    if len(chosen) != 1 or chosen[0] not in POOLINGS:
        raise ArtifactError(
            f"{path} pools by {' and '.join(modes) or 'nothing'}; this worker knows {', '.join(POOLINGS)}."
        )
    return chosen[0]
