"""Computes embeddings and classes of texts with models of Hugging Face directories, on the CPU."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
import transformers
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from modelservice_workers.common.cpufeatures import check_dtype
from modelservice_workers.common.datatypes import Array
from modelservice_workers.common.errors import ArtifactError, summarize
from modelservice_workers.common.program import TORCH_DTYPES
from modelservice_workers.common.signature import Range, Signature, TensorSpec
from modelservice_workers.common.weightfiles import check_weights
from modelservice_workers.serving.engine import InputRefusedError
from modelservice_workers.serving.engines.source import LoadedEngine, LoadOptions, Source
from modelservice_workers.serving.engines.textlayout import CLASSIFICATION, TextLayout, read_layout

PLATFORM: Final = "transformers_text"

_ROWS: Final = Range("rows")
_FLOATS: Final = ("FP32", "BF16", "FP16")
_PASS_ROWS: Final = 32
_EXAMPLE: Final = b"The quick brown fox jumps over the lazy dog."
_UNLIMITED: Final = 1 << 20


def load(source: Source, options: LoadOptions) -> LoadedEngine:
    """Load a directory of config, tokenizer and safetensors; raises ArtifactError or HardwareError."""
    layout = read_layout(source.path, remote_code=options.remote_code)
    dtype = check_weights(layout.directory)
    if dtype not in _FLOATS:
        raise ArtifactError(f"{layout.directory} has weights in {dtype}; this engine computes in {', '.join(_FLOATS)}.")
    check_dtype(dtype, options.features)
    torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call] # the library's are bare
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        tokenizer, model = _open(layout, TORCH_DTYPES[dtype], options)
    except Exception as error:
        raise ArtifactError(
            f"{source.path} could not be loaded by transformers {transformers.__version__}: {summarize(error)}"
        ) from error
    kind = ClassifierEngine if layout.task == CLASSIFICATION else EmbeddingEngine
    engine = kind(layout, tokenizer, model)
    engine.signature = source.name_tensors(engine.signature)
    return LoadedEngine(engine, transformers.__version__, PLATFORM, dtype, layout.task)


def _open(layout: TextLayout, dtype: torch.dtype, options: LoadOptions) -> tuple[Any, Any]:
    if options.remote_code:
        # The library copies such code before it imports it, to a home directory that a pod does not have.
        os.environ.setdefault("HF_MODULES_CACHE", tempfile.mkdtemp(prefix="modelservice-code-"))
    common: dict[str, Any] = {"local_files_only": True, "trust_remote_code": options.remote_code}
    tokenizer = AutoTokenizer.from_pretrained(layout.directory, **common)
    kind = AutoModelForSequenceClassification if layout.task == CLASSIFICATION else AutoModel
    model, report = kind.from_pretrained(
        layout.directory, dtype=dtype, use_safetensors=True, output_loading_info=True, **common
    )
    # A head for pooling that the weights lack is not used by any pooling of ours.
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise ArtifactError(f"the weights lack {len(missing)} tensors of the model, {missing[0]} for one.")
    return tokenizer, model.eval()


class _TextEngine:
    """Texts to tokens to the model's own outputs; short texts are computed with short ones."""

    signature: Signature

    def __init__(self, layout: TextLayout, tokenizer: Any, model: Any) -> None:
        self._layout = layout
        self._tokenizer = tokenizer
        self._model = model
        limits = [layout.longest, tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None)]
        self._longest = min([limit for limit in limits if limit and limit < _UNLIMITED], default=None)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """As in Engine: one text a row."""
        encoded = self._encode(inputs[0])
        lengths = np.array([len(ids) for ids in encoded["input_ids"]], np.int64)
        order = np.argsort(lengths, kind="stable")
        results: list[Array | None] = [None] * len(lengths)
        with torch.inference_mode():
            for start in range(0, len(order), _PASS_ROWS):
                rows = order[start : start + _PASS_ROWS]
                part = {name: [values[row] for row in rows] for name, values in encoded.items()}
                batch = self._tokenizer.pad(part, return_tensors="pt")
                for row, result in zip(rows, self._compute(batch).float().numpy(), strict=True):
                    results[row] = result
        return self._finish(np.stack(results), lengths)  # type: ignore[arg-type] # every row was computed

    def example(self, rows: int) -> list[Array]:
        """A sentence in every row, longer from row to row."""
        texts = np.empty(rows, np.object_)
        texts[:] = [b" ".join([_EXAMPLE] * (1 + row % 4)) for row in range(rows)]
        return [texts]

    def _encode(self, texts: Array) -> dict[str, list[list[int]]]:
        try:
            words = [text.decode() for text in texts]
        except UnicodeDecodeError:
            raise InputRefusedError("A text of the request is no UTF-8.") from None
        if self._layout.lowercase:
            words = [word.lower() for word in words]
        encoded: dict[str, list[list[int]]] = dict(
            self._tokenizer(words, truncation=self._longest is not None, max_length=self._longest)
        )
        return encoded

    def _compute(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        raise NotImplementedError

    def _finish(self, results: Array, lengths: Array) -> list[Array]:
        raise NotImplementedError


class EmbeddingEngine(_TextEngine):
    """embedding FP32 [-1, d] and tokens INT64 [-1] for text BYTES [-1]."""

    def __init__(self, layout: TextLayout, tokenizer: Any, model: Any) -> None:
        super().__init__(layout, tokenizer, model)
        outputs = (
            TensorSpec("embedding", "FP32", (_ROWS, model.config.hidden_size)),
            TensorSpec("tokens", "INT64", (_ROWS,)),
        )
        self.signature = Signature((TensorSpec("text", "BYTES", (_ROWS,)),), outputs)

    def _compute(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        hidden = self._model(**batch).last_hidden_state.float()
        pooled = _POOLS[self._layout.pooling](hidden, batch["attention_mask"])
        return torch.nn.functional.normalize(pooled, dim=1) if self._layout.normalize else pooled

    def _finish(self, results: Array, lengths: Array) -> list[Array]:
        return [results, lengths]


class ClassifierEngine(_TextEngine):
    """scores FP32 [-1, n], label BYTES [-1] of the highest score, tokens INT64 [-1] for text BYTES [-1]."""

    def __init__(self, layout: TextLayout, tokenizer: Any, model: Any) -> None:
        super().__init__(layout, tokenizer, model)
        count = model.config.num_labels
        self._labels = [str(model.config.id2label.get(number, number)).encode() for number in range(count)]
        self._several = model.config.problem_type == "multi_label_classification"
        outputs = (
            TensorSpec("scores", "FP32", (_ROWS, count)),
            TensorSpec("label", "BYTES", (_ROWS,)),
            TensorSpec("tokens", "INT64", (_ROWS,)),
        )
        self.signature = Signature((TensorSpec("text", "BYTES", (_ROWS,)),), outputs)

    def _compute(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        logits: torch.Tensor = self._model(**batch).logits.float()
        return logits.sigmoid() if self._several else logits.softmax(dim=1)

    def _finish(self, results: Array, lengths: Array) -> list[Array]:
        labels = np.empty(len(results), np.object_)
        labels[:] = [self._labels[best] for best in results.argmax(axis=1)]
        return [results, labels, lengths]


def _pool_mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


def _pool_max(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return hidden.masked_fill(mask.unsqueeze(-1) == 0, -torch.inf).amax(1)


def _pool_first(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return hidden[torch.arange(len(hidden)), mask.argmax(1)]


def _pool_last(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    positions = torch.arange(mask.shape[1]).expand_as(mask)
    return hidden[torch.arange(len(hidden)), (positions * mask).argmax(1)]


_POOLS: Final = {"mean": _pool_mean, "max": _pool_max, "cls": _pool_first, "lasttoken": _pool_last}
