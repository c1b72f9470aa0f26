"""Whether a model fits the hardware of an option: number formats, slices, and memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

from modelservice.domain.enginewords import read_words
from modelservice.domain.estimator import TOLERANCE, Fit, Serving, Terms, hold, serve
from modelservice.domain.features import lacking
from modelservice.domain.memory import Figure, gib
from modelservice.domain.modelfacts import ModelFacts
from modelservice.domain.parallel import Devices, spread
from modelservice.domain.placement import Option
from modelservice.domain.quantities import whole
from modelservice.domain.specs import Pool, Runtime, Workload
from modelservice.domain.topology import slice_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an option is worth for a model.

    Each of `devices`, or the memory of a pod without any, has `room` bytes of which `need` are needed; None where that
    is not known, and `unknown` says why. `why` ends a sentence that begins with the pool, "" when it is no hindrance.
    `sequences` of the longest context are answered at a time, 0 when that is not known.
    """

    why: str = ""
    need: Figure | None = None
    room: int = 0
    devices: int = 0
    fit: Fit | None = None
    sequences: int = 0
    unknown: str = ""
    advice: str = ""


def judge(facts: ModelFacts | None, pod: Workload, runtime: Runtime, option: Option) -> Verdict:
    """Judge one option; `facts` is None when nothing is known of the model."""
    pool = option.pool
    devices = option.requests.get(pool.resource, 0) if pool.resource is not None else 0
    words = (*runtime.engines[pool.accelerator].args, *pod.args)
    try:
        terms = read_words(words, devices)
    except ValueError as error:
        return Verdict(f"cannot be judged: {error}")
    if facts is None:
        return Verdict(_slice(pool, option), None, _room(pod, pool), devices, unknown="the model is not known")
    if why := lacking(facts, pool.accelerator, pool.features) or _slice(pool, option):
        return Verdict(why)
    if pool.resource is None:
        return _on_host(facts, terms, pod, option)
    return _on_devices(facts, terms, option, devices)


def _slice(pool: Pool, option: Option) -> str:
    """Why a replica cannot be served on a slice of TPUs, "" when it can."""
    if not pool.topology or pool.resource is None:
        return ""
    chips = pool.allocatable[pool.resource]
    try:
        hosts = slice_of(pool.topology, chips).hosts
        if hosts == 1:
            slice_of(pool.topology, chips, option.requests.get(pool.resource))
    except ValueError as error:
        return f"cannot be used so: {error}"
    if hosts == 1:
        return ""
    return f"has slices of {hosts} nodes ({pool.topology}, {chips} chips a node), and a replica is served on one node"


def _room(pod: Workload, pool: Pool) -> int:
    """Memory that a pod may take: of a device, or its limit, or all of a node."""
    if pool.resource is not None:
        return pool.device_memory
    return whole("memory", pod.limits["memory"]) if "memory" in pod.limits else pool.allocatable["memory"]


def _on_host(facts: ModelFacts, terms: Terms, pod: Workload, option: Option) -> Verdict:
    judged = _fitted(hold(facts, terms), _room(pod, option.pool), 0)
    asked = option.requests.get("memory", 0)
    if not judged.why and judged.need is not None and judged.need.likely > asked:
        told = f"asks for {gib(asked)} of memory and likely needs {gib(judged.need.likely)}"
        return replace(judged, advice=f"The pod {told}: raise resources.requests.memory.")
    return judged


def _on_devices(facts: ModelFacts, terms: Terms, option: Option, devices: int) -> Verdict:
    memory = option.pool.device_memory
    if terms.devices > devices:
        return Verdict(f"has an engine that is told to use {terms.devices} devices, and the pod asks for {devices}")
    if not memory:
        told = "the pool does not say how much memory a device has (accelerator.memory)"
        return Verdict(devices=devices, unknown=told)
    if not facts.generates or facts.format == "gguf":
        return _fitted(hold(facts, replace(terms, tensor=max(1, devices))), memory, max(1, devices))
    return _batching(facts, terms, option, devices)


def _fitted(need: Figure, room: int, devices: int) -> Verdict:
    if need.likely > room + TOLERANCE:
        where = "each of its devices" if devices > 1 else "its device" if devices else "it"
        why = f"is too small: {gib(need.likely)} are needed and {where} has {gib(room)}"
        return Verdict(why, need, room, devices, Fit.NOT)
    return Verdict("", need, room, devices, Fit.ROOMY if need.most <= room else Fit.TIGHT)


def _batching(facts: ModelFacts, terms: Terms, option: Option, devices: int) -> Verdict:
    """An engine that takes a share of each device and gives the rest to its cache."""
    pool = option.pool
    serving = serve(facts, terms, pool.device_memory)
    judged = Verdict(
        need=serving.need, room=serving.share, devices=terms.devices, fit=serving.fit, sequences=serving.sequences
    )
    if serving.fit is not Fit.NOT:
        spare = devices - terms.devices
        idle = f"The engine uses {terms.devices} of the {devices} devices that the pod asks for: "
        return replace(judged, advice=f"{idle}set --tensor-parallel-size=$(DEVICES)." if spare else "")
    most = pool.allocatable[pool.resource] if pool.resource is not None else 0
    found = spread(facts, replace(terms, tensor=1, pipeline=1), pool.device_memory, most)
    if isinstance(found, Devices):
        rest = f"{found.count} devices would hold it, ask for {pool.resource}: {found.count}"
    else:
        rest = found.rstrip(".")
    return replace(judged, why=f"is too small: {_parts(serving)}; {rest}")


def _parts(serving: Serving) -> str:
    weights, rest = gib(serving.weights.likely), gib((serving.activation + serving.overhead).likely)
    cache = f" and {gib(serving.sequence.likely)} of cache for {serving.context:,} tokens" if serving.context else ""
    return f"{weights} of weights, {rest} of activations{cache} are needed of the {gib(serving.share)} that can be used"
