"""Which runtime is chosen when a service names none, and what is said when none or several fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from modelservice.domain.conditions import REASONS, Problem
from modelservice.domain.demand import Scaling
from modelservice.domain.runtimes import Choice, accelerators, choose, format_of, unmeasured
from modelservice.domain.specs import (
    ClaimPath,
    Download,
    Format,
    Inference,
    Model,
    Pool,
    Role,
    Runtime,
    Service,
    ServiceName,
    Training,
)

from tests.unit.domain.specs import gpu_pool, pool, runtime, workload

CPU, GPU = pool(), gpu_pool()
BOTH = (CPU, GPU)


def service(path: str = "llm.gguf", declared: str = "", metric: Any = None, **pod: Any) -> Service:
    scaling = Scaling(metric, 10, 300) if metric else None
    spec = Inference(workload(runtime="", **pod), 1, 1, scaling, declared)
    return Service(ServiceName("ns", "chat"), "uid-1", 1, False, Model(ClaimPath("models", path)), spec, None)


def trained(declared: str = "") -> Service:
    spec = Inference(workload(runtime=""), 1, 1, model_format=declared)
    run = Training(workload(), ClaimPath("models", "out"))
    return Service(ServiceName("ns", "chat"), "uid-1", 1, False, None, spec, run)


def engine(name: str, *formats: Format, role: Role = Role.INFERENCE, **more: Any) -> Runtime:
    made = runtime(role, formats=formats, **more)
    return Runtime(name, made.role, made.port, made.metrics_path, made.series, made.engines, formats=made.formats)


LLAMA = engine("llama", Format("gguf", 10))
VLLM = engine("vllm", Format("huggingface", 20, ("GPU",)), Format("gguf", 5))


def chosen(one: Service, *runtimes: Runtime, pools: tuple[Pool, ...] = BOTH, used: str | None = None) -> Choice:
    made = choose(one, runtimes, pools, used)
    assert isinstance(made, Choice), made
    return made


def refused(one: Service, *runtimes: Runtime, pools: tuple[Pool, ...] = BOTH) -> Problem:
    made = choose(one, runtimes, pools, None)
    assert isinstance(made, Problem), made
    assert made.reason in REASONS["HardwareSelected"]
    return made


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a.gguf", "gguf"),
        ("dir/a-Q8_0.GGUF", "gguf"),
        ("a.onnx", "onnx"),
        ("a.pt2", "torch.export"),
        ("a.xml", "openvino"),
    ],
)
def test_the_format_of_a_file_is_known_by_the_end_of_its_name(path: str, name: str) -> None:
    assert format_of(service(path)) == (name, f"the end of pvc://models/{path}")


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("hf://org/name", "huggingface"),
        ("hf://org/name@v1", "huggingface"),
        ("hf://org/name/q4.gguf", "gguf"),
        ("s3://bucket/models/a.onnx", "onnx"),
        ("s3://bucket/models/a", ""),
    ],
)
def test_a_repository_of_the_hub_is_known_by_its_address_and_a_file_of_it_by_its_end(uri: str, name: str) -> None:
    assert format_of(replace(service(), model=Model(Download(uri))))[0] == name


def test_what_the_service_declares_comes_before_the_name_of_the_file() -> None:
    assert format_of(service("a.onnx", "gguf")) == ("gguf", "inference.modelFormat")
    assert format_of(trained("onnx"))[0] == "onnx"


@pytest.mark.parametrize("one", [service("llm"), trained()])
def test_a_format_that_is_not_known_has_to_be_declared(one: Service) -> None:
    problem = refused(one, LLAMA)
    assert problem.reason == "FormatUnknown"
    assert "set inference.modelFormat" in problem.message


def test_the_highest_priority_is_chosen_and_the_reason_names_what_it_is_made_from() -> None:
    made = chosen(service(), LLAMA, VLLM)
    assert (made.runtime.name, made.format) == ("llama", "gguf")
    assert made.why == (
        "llama serves gguf (the end of pvc://models/llm.gguf) on CPU and GPU; it has priority 10, vllm with 5."
    )


def test_a_runtime_that_is_in_use_is_kept_while_it_fits_whatever_priority_another_has() -> None:
    made = chosen(service(), LLAMA, VLLM, used="vllm")
    assert made.runtime.name == "vllm"
    assert "is in use" in made.why
    assert "priority" in chosen(service(), LLAMA, VLLM, used="llama").why
    assert chosen(service(), LLAMA, VLLM, used="gone").runtime.name == "llama"
    assert chosen(service(), LLAMA, engine("vllm"), used="vllm").runtime.name == "llama"


def test_an_engine_is_used_only_on_the_accelerators_on_which_it_offers_itself() -> None:
    made = chosen(service("llm", "huggingface"), VLLM)
    assert made.runtime.engines.keys() == {"GPU"}
    assert VLLM.engines.keys() == {"CPU", "GPU"}


def test_two_of_one_priority_are_ambiguous_and_both_are_named() -> None:
    problem = refused(service(), LLAMA, engine("other", Format("gguf", 10)), engine("low", Format("gguf", 1)))
    assert problem.reason == "RuntimeAmbiguous"
    assert problem.message == (
        "llama and other serve gguf on CPU or GPU with the same priority 10: name one of them in inference.runtime."
    )


def test_when_none_fits_each_says_what_it_lacks() -> None:
    deaf = engine("deaf", Format("huggingface"), series={"running": ("r",)})
    plain, trainer = engine("plain"), engine("trainer", Format("huggingface"), role=Role.TRAINING)
    one = service("llm", "huggingface", "Concurrency")
    problem = refused(one, LLAMA, VLLM, deaf, plain, trainer, pools=(CPU,))
    assert problem.reason == "RuntimeNotFound"
    assert problem.message == (
        "No ModelRuntime serves huggingface on CPU: deaf names no series for waiting, which scaleMetric Concurrency "
        "needs; llama serves gguf; plain names no format; vllm serves it on GPU only."
    )
    assert refused(one).message == "No ModelRuntime serves huggingface on CPU or GPU: there is none for inference."


def test_the_placement_decides_which_accelerators_count() -> None:
    assert accelerators(workload(), BOTH) == {"CPU", "GPU"}
    assert accelerators(workload(pools=("gpu",)), BOTH) == {"GPU"}
    assert accelerators(workload(accelerators=("CPU",)), BOTH) == {"CPU"}
    assert accelerators(workload(accelerators=("TPU",)), BOTH) == {"TPU"}
    assert accelerators(workload(), ()) == {"CPU", "GPU", "TPU"}
    cheap = refused(service("llm", "huggingface", accelerators=("CPU",)), VLLM)
    assert cheap.message.endswith("on CPU: vllm serves it on GPU only.")


def test_a_service_that_may_be_at_zero_needs_to_know_what_was_answered_too() -> None:
    mute = runtime(series={"running": ("r",), "waiting": ("w",)})
    spec = Inference(workload(), 1, 1, Scaling("Concurrency", 10, 300))
    assert unmeasured(spec, mute) == ""
    lack = "names no series for activity, which minReplicas 0 needs"
    assert unmeasured(replace(spec, minimum=0), mute) == lack
    assert unmeasured(replace(spec, minimum=0), runtime()) == ""
