"""Which runtime serves a model whose service names none: by the model's format and the accelerators it may run on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from modelservice.domain.conditions import Problem
from modelservice.domain.demand import SERIES
from modelservice.domain.specs import Inference, Pool, Role, Runtime, Service, Workload

SUFFIXES: Mapping[str, str] = {
    ".gguf": "gguf",
    ".onnx": "onnx",
    ".pt2": "torch.export",
    ".xml": "openvino",
}
"""Formats of models that are one file, by the end of its name."""
HUB = "hf://"
IDLE = ("running", "waiting", "activity")
"""Series from which it follows that nobody asks for a service."""
HUGGINGFACE = "huggingface"
DECLARE = "set inference.modelFormat, or name a runtime in inference.runtime"


@dataclass(frozen=True, slots=True)
class Choice:
    """A runtime that was chosen: its engines are those for which it offers itself; `why` is a sentence."""

    runtime: Runtime
    format: str
    why: str


def format_of(service: Service) -> tuple[str, str]:
    """The format of the model and where that is known from, ("", why not) when it is not known."""
    if service.inference is not None and service.inference.model_format:
        return service.inference.model_format, "inference.modelFormat"
    if service.model is None:
        return "", f"The format of the model that the training makes is not known: {DECLARE}."
    where = str(service.model.where)
    for suffix, name in SUFFIXES.items():
        if where.lower().endswith(suffix):
            return name, f"the end of {where}"
    if where.startswith(HUB):
        return HUGGINGFACE, where
    return "", f"{where} does not say which format the model has: {DECLARE}."


def choose(service: Service, runtimes: Iterable[Runtime], pools: Iterable[Pool], used: str | None) -> Choice | Problem:
    """The runtime with the highest priority; the one in `use` is kept while it fits, so that pods are not moved."""
    spec = service.inference
    if spec is None:
        raise ValueError("a service without inference needs no runtime")
    name, told = format_of(service)
    if not name:
        return Problem("FormatUnknown", told)
    places = accelerators(spec.pod, pools)
    fits: list[tuple[int, Runtime]] = []
    lacks: list[str] = []
    for runtime in sorted(runtimes, key=lambda each: each.name):
        if runtime.role is not Role.INFERENCE:
            continue
        offered = _offered(runtime, name, places, spec)
        if isinstance(offered, str):
            lacks.append(f"{runtime.name} {offered}")
        else:
            fits.append(offered)
    on = " or ".join(sorted(places))
    if not fits:
        reasons = "; ".join(lacks) or "there is none for inference"
        return Problem("RuntimeNotFound", f"No ModelRuntime serves {name} on {on}: {reasons}.")
    best = max(priority for priority, _ in fits)
    first = [runtime for priority, runtime in fits if priority == best]
    kept = next((runtime for _, runtime in fits if runtime.name == used), None)
    if kept is not None and first != [kept]:
        return Choice(kept, name, f"{kept.name} serves {name} ({told}) on {_on(kept)} and is in use.")
    if len(first) > 1:
        names = " and ".join(runtime.name for runtime in first)
        text = f"{names} serve {name} on {on} with the same priority {best}: name one of them in inference.runtime."
        return Problem("RuntimeAmbiguous", text)
    others = [f"{one.name} with {priority}" for priority, one in fits if one is not first[0]]
    beaten = f"; it has priority {best}, {', '.join(others)}" if others else ""
    return Choice(first[0], name, f"{first[0].name} serves {name} ({told}) on {_on(first[0])}{beaten}.")


def accelerators(pod: Workload, pools: Iterable[Pool]) -> frozenset[str]:
    """The types of accelerators that the placement leaves; when no pool is left, those that it names, or all."""
    left = {
        pool.accelerator
        for pool in pools
        if (not pod.pools or pool.name in pod.pools) and (not pod.accelerators or pool.accelerator in pod.accelerators)
    }
    return frozenset(left or pod.accelerators or ("CPU", "GPU", "TPU"))


def _offered(runtime: Runtime, name: str, places: Collection[str], spec: Inference) -> tuple[int, Runtime] | str:
    """Its priority and itself with the engines that may be used, or what it lacks."""
    served = next((one for one in runtime.formats if one.name == name), None)
    if served is None:
        known = " and ".join(one.name for one in runtime.formats)
        return f"serves {known}" if known else "names no format"
    offers = {
        kind: engine for kind, engine in runtime.engines.items() if kind in (served.accelerators or runtime.engines)
    }
    usable = {kind: engine for kind, engine in offers.items() if kind in places}
    if not usable:
        return f"serves it on {' and '.join(sorted(offers)) or 'no accelerator that it has'} only"
    if lack := unmeasured(spec, runtime):
        return lack
    return served.priority, replace(runtime, engines=usable)


def unmeasured(spec: Inference, runtime: Runtime) -> str:
    """What a service has to know of its load and the runtime does not tell, "" when all; ends a sentence about it."""
    if spec.scaling is None:
        return ""
    metric = spec.scaling.metric
    needs, why = (SERIES[metric], f"scaleMetric {metric}") if spec.minimum else (IDLE, "minReplicas 0")
    missing = " and ".join(name for name in needs if name not in runtime.series)
    return f"names no series for {missing}, which {why} needs" if missing else ""


def _on(runtime: Runtime) -> str:
    return " and ".join(sorted(runtime.engines))
