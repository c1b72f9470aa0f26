"""A torch.export program read from a .pt2 file, with the signature that it states itself."""

from __future__ import annotations

import io
import linecache
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, InputSpec, OutputKind, TensorArgument
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils import _pytree as pytree

from modelservice_workers.common.errors import ArtifactError, summarize
from modelservice_workers.common.pt2archive import check_archive
from modelservice_workers.common.signature import Range, Signature, TensorSpec

_DATATYPES: Final = {
    torch.bool: "BOOL",
    torch.int8: "INT8",
    torch.int16: "INT16",
    torch.int32: "INT32",
    torch.int64: "INT64",
    torch.uint8: "UINT8",
    torch.uint16: "UINT16",
    torch.uint32: "UINT32",
    torch.uint64: "UINT64",
    torch.float16: "FP16",
    torch.bfloat16: "BF16",
    torch.float32: "FP32",
    torch.float64: "FP64",
}

TORCH_DTYPES: Final = {name: dtype for dtype, name in _DATATYPES.items()}

# torch.export writes 2 as the lower bound of sizes whose 0 and 1 it did not look at; the program takes 1 too.
_UNEXAMINED_LOWER_BOUND: Final = 2


@dataclass(frozen=True, slots=True)
class Program:
    """A loaded program.

    `state` holds the tensors that the graph takes before the inputs; `dtype` is the datatype of most parameters.
    """

    exported: ExportedProgram
    signature: Signature
    state: tuple[torch.Tensor, ...]
    examples: tuple[torch.Tensor, ...] | None
    dtype: str


def load_program(path: Path) -> Program:
    """Load and describe a .pt2 file; raises ArtifactError with a sentence that names the file."""
    samples = check_archive(path)
    try:
        if samples:
            torch.load(io.BytesIO(samples), weights_only=True)
        exported = _load_quietly(path)
    except Exception as error:
        raise ArtifactError(
            f"{path} could not be loaded as a torch.export program by torch {torch.__version__}: {summarize(error)}"
        ) from error
    program = Program(
        exported,
        _describe(exported, path),
        _collect_state(exported, path),
        _examples(exported),
        _main_dtype(exported),
    )
    _try_examples(program, path)
    _forget_leftovers()
    return program


def _forget_leftovers() -> None:
    """Drop what torch would keep of each program as long as the process lives.

    That is the text of generated functions, for tracebacks, and the program's symbols in caches without a bound.
    """
    for method in (ShapeEnv.constrain_symbol_range, ShapeEnv.get_implications):
        method.cache_clear()
    FakeTensorMode.cache_clear()
    sources = getattr(getattr(torch.fx.graph_module, "_loader", None), "eval_cache", {})
    for name in list(sources):
        linecache.cache.pop(name, None)
        del sources[name]


def _load_quietly(path: Path) -> ExportedProgram:
    loggers = [logging.getLogger(name) for name in ("torch.export", "torch._export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with path.open("rb") as file:
            return torch.export.load(file)
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _describe(exported: ExportedProgram, path: Path) -> Signature:
    signature = exported.graph_signature
    for spec in signature.output_specs:
        if spec.kind is not OutputKind.USER_OUTPUT:
            raise _state_change_error(path, spec.target or spec.arg.name)
    values = {node.name: node.meta.get("val") for node in exported.graph.nodes}
    inputs = [spec.arg for spec in signature.input_specs if spec.kind is InputKind.USER_INPUT]
    outputs = [spec.arg for spec in signature.output_specs]
    for argument in (*inputs, *outputs):
        if not isinstance(argument, TensorArgument):
            raise ArtifactError(f"{path} takes or gives {argument.name!r}, which is no tensor; export tensors only.")
    output_names = _name_outputs(exported, len(outputs))
    return Signature(
        tuple(_tensor_spec(arg.name, values[arg.name], exported, path) for arg in inputs),
        tuple(
            _tensor_spec(name, values[arg.name], exported, path)
            for name, arg in zip(output_names, outputs, strict=True)
        ),
    )


def _state_change_error(path: Path, name: str) -> ArtifactError:
    return ArtifactError(f"{path} changes {name} when it runs; call eval() on the model before exporting.")


def _try_examples(program: Program, path: Path) -> None:
    """Run the example inputs once; a program must not fail on them, nor change its state."""
    if program.examples is None:
        return
    versions = [tensor._version for tensor in program.state]  # noqa: SLF001 - torch documents it, under this name
    try:
        with torch.inference_mode():
            program.exported.graph_module(*program.state, *[example.clone() for example in program.examples])
    except Exception as error:
        raise ArtifactError(f"{path} fails on its own example inputs: {summarize(error)}") from error
    specs = [spec for spec in program.exported.graph_signature.input_specs if spec.kind is not InputKind.USER_INPUT]
    for spec, tensor, version in zip(specs, program.state, versions, strict=True):
        if tensor._version != version:  # noqa: SLF001
            raise _state_change_error(path, spec.target or spec.arg.name)


def _name_outputs(exported: ExportedProgram, count: int) -> list[str]:
    """Keys of a returned dict, or "output", or "output_<position>"."""
    placeholder = pytree.tree_unflatten(range(count), exported.call_spec.out_spec)
    leaves, _ = pytree.tree_flatten_with_path(placeholder)
    names = []
    for path, _ in leaves:
        parts = [str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path]
        names.append("_".join(["output", *parts] if not parts or parts[0].isdigit() else parts))
    return names


def _tensor_spec(name: str, value: Any, exported: ExportedProgram, path: Path) -> TensorSpec:
    datatype = _DATATYPES.get(value.dtype)
    if datatype is None:
        raise ArtifactError(f"{path} uses {value.dtype} for {name}, which the inference protocol cannot carry.")
    return TensorSpec(name, datatype, tuple(_dimension(size, exported) for size in value.shape))


def _dimension(size: int | torch.SymInt, exported: ExportedProgram) -> int | Range:
    if isinstance(size, int):
        return size
    expression = size.node.expr
    bounds = exported.range_constraints.get(expression)
    if bounds is None:
        return Range(str(expression))
    smallest = _finite(bounds.lower)
    if smallest is None or smallest <= _UNEXAMINED_LOWER_BOUND:
        smallest = 1
    return Range(str(expression), smallest, _finite(bounds.upper))


def _finite(bound: Any) -> int | None:
    return int(bound) if bound.is_Integer and bound < sys.maxsize - 1 else None


def _collect_state(exported: ExportedProgram, path: Path) -> tuple[torch.Tensor, ...]:
    inputs = exported.graph_signature.input_specs
    return tuple(_find_state(spec, exported, path) for spec in inputs if spec.kind is not InputKind.USER_INPUT)


def _find_state(spec: InputSpec, exported: ExportedProgram, path: Path) -> torch.Tensor:
    target = spec.target or spec.arg.name
    value = exported.state_dict.get(target, exported.constants.get(target))
    if not isinstance(value, torch.Tensor):
        raise ArtifactError(f"{path} holds {target}, which is no tensor; export a program of tensors only.")
    return value.detach()


def _examples(exported: ExportedProgram) -> tuple[torch.Tensor, ...] | None:
    leaves: Sequence[Any] = pytree.tree_leaves(exported.example_inputs)
    if leaves and all(isinstance(leaf, torch.Tensor) for leaf in leaves):
        return tuple(leaves)
    return None


def _main_dtype(exported: ExportedProgram) -> str:
    sizes: dict[str, int] = {}
    for tensor in exported.state_dict.values():
        name = _DATATYPES.get(tensor.dtype, str(tensor.dtype).removeprefix("torch."))
        sizes[name] = sizes.get(name, 0) + tensor.numel()
    return max(sizes, key=lambda name: sizes[name], default="none")
