"""The pods of the chart's runtimes, one file for each accelerator: whoever changes a runtime sees which pods change.

`PYTHONPATH=operator python -m tests.unit.render.test_catalogue` writes the files anew.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from modelservice.api.convert import claim_path, runtime_of
from modelservice.api.modelruntime import ModelRuntime
from modelservice.domain.demand import SERIES
from modelservice.domain.placement import select
from modelservice.domain.prices import Billing
from modelservice.domain.runtimes import IDLE, Choice, choose
from modelservice.domain.specs import Artifact, ClaimPath, Inference, Model, Pool, Role, Runtime, Service, ServiceName
from modelservice.render.deployment import deployment

from tests.unit.domain.specs import pool, workload

REPO = Path(__file__).resolve().parents[3]
FILES = Path(__file__).parent / "catalogue"
PODS = [
    ("modelservice-torch", "CPU"),
    ("modelservice-onnx", "CPU"),
    ("modelservice-openvino", "CPU"),
    ("vllm", "GPU"),
    ("vllm", "TPU"),
    ("vllm", "CPU"),
    ("llamacpp", "CPU"),
    ("llamacpp", "GPU"),
]
DEVICES = {"GPU": "nvidia.com/gpu", "TPU": "google.com/tpu"}


def catalogue() -> dict[str, Runtime]:
    """The runtimes as the operator reads them from the chart's manifests."""
    words = ("template", "modelservice", "charts/modelservice", "--kube-version", "1.36.3")
    known = ("--api-versions", "modelservice.dev/v1alpha1/ModelRuntime", "-s", "templates/runtimes.yaml")
    done = subprocess.run(
        [REPO / "bin/helm", *words, *known], capture_output=True, text=True, timeout=15, check=True, cwd=REPO
    )
    read = [ModelRuntime.model_validate(one) for one in yaml.safe_load_all(done.stdout) if one]
    return {one.metadata.name: runtime_of(one) for one in read}


def nodes(accelerator: str) -> Pool:
    """A pool with 4 devices on a node, as the platform team gets it without further settings."""
    resource = DEVICES.get(accelerator)
    room = {"cpu": 16_000, "memory": 64 * 2**30, **({resource: 4} if resource else {})}
    return pool(accelerator.lower(), accelerator=accelerator, resource=resource, allocatable=room, billing=Billing(120))


def rendered(runtime: Runtime, accelerator: str) -> dict[str, Any]:
    """What of a replica with 2 devices and 3.5 CPUs is the runtime's."""
    devices = {DEVICES[accelerator]: "2"} if accelerator in DEVICES else {}
    pod = workload(requests={"cpu": "3500m", "memory": "16Gi", **devices})
    model = ClaimPath("models", "llm/model.gguf" if runtime.name == "llamacpp" else "llm")
    service = Service(ServiceName("ns", "chat"), "uid-1", 1, False, Model(model), None, None)
    spec = Inference(pod, 1, 1)
    made = deployment(service, spec, runtime, nodes(accelerator), Artifact(model), "abcd1234", 1)["spec"]["template"]
    (container,) = made["spec"]["containers"]
    ours = ("resources", "securityContext", "imagePullPolicy", "name")
    kept = ("terminationGracePeriodSeconds", "volumes")
    return {
        "annotations": made["metadata"]["annotations"],
        "container": {key: value for key, value in container.items() if key not in ours and "termination" not in key},
        **{key: made["spec"][key] for key in kept},
    }


@pytest.fixture(scope="module")
def runtimes() -> dict[str, Runtime]:
    return catalogue()


@pytest.mark.parametrize(("name", "accelerator"), PODS)
def test_the_pod_of_a_runtime_is_as_the_file_says(runtimes: dict[str, Runtime], name: str, accelerator: str) -> None:
    written = yaml.safe_load((FILES / f"{name}-{accelerator.lower()}.yaml").read_text())
    assert rendered(runtimes[name], accelerator) == written


def test_there_is_a_file_for_every_accelerator_of_every_runtime_and_no_other(runtimes: dict[str, Runtime]) -> None:
    served = [one for one in runtimes.values() if one.role is Role.INFERENCE]
    assert {(one.name, accelerator) for one in served for accelerator in one.engines} == set(PODS)
    assert {path.stem for path in FILES.iterdir()} == {f"{name}-{kind.lower()}" for name, kind in PODS}


@pytest.mark.parametrize("name", sorted({name for name, _ in PODS}))
def test_every_engine_can_be_scaled_by_what_runs_and_waits_and_to_zero(runtimes: dict[str, Runtime], name: str) -> None:
    assert {*SERIES["Concurrency"], *IDLE} <= runtimes[name].series.keys()


@pytest.mark.parametrize(("name", "accelerator"), PODS)
def test_every_engine_fits_a_pool_that_says_nothing_about_stopping(
    runtimes: dict[str, Runtime], name: str, accelerator: str
) -> None:
    selection = select(workload(), runtimes[name], [nodes(accelerator)], {})
    assert selection.rejections == ()


@pytest.mark.parametrize(
    ("uri", "accelerators", "declared", "chosen"),
    [
        ("models/a.pt2", ("CPU",), "", "modelservice-torch"),
        ("models/a.onnx", ("CPU", "GPU"), "", "modelservice-onnx"),
        ("models/a/model.xml", ("CPU",), "", "modelservice-openvino"),
        ("models/a-Q4_K_M.gguf", ("CPU", "GPU"), "", "llamacpp"),
        ("models/llm", ("GPU",), "huggingface", "vllm"),
        ("models/llm", ("TPU",), "huggingface", "vllm"),
        ("models/llm", ("CPU",), "huggingface", "modelservice-torch"),
        ("models/llm", ("CPU", "GPU"), "huggingface", "vllm"),
    ],
)
def test_the_format_of_a_model_and_the_accelerators_choose_one_runtime(
    runtimes: dict[str, Runtime], uri: str, accelerators: tuple[str, ...], declared: str, chosen: str
) -> None:
    spec = Inference(workload(runtime=""), 1, 1, model_format=declared)
    service = Service(ServiceName("ns", "chat"), "uid-1", 1, False, Model(claim_path(f"pvc://{uri}")), spec, None)
    choice = choose(service, runtimes.values(), [nodes(kind) for kind in accelerators], None)
    assert isinstance(choice, Choice), choice
    assert choice.runtime.name == chosen


def test_vllm_is_not_chosen_for_cpus_and_runs_there_when_it_is_named(runtimes: dict[str, Runtime]) -> None:
    spec = Inference(workload(runtime=""), 1, 1, model_format="huggingface")
    service = Service(ServiceName("ns", "chat"), "uid-1", 1, False, Model(ClaimPath("models", "llm")), spec, None)
    choice = choose(service, [runtimes["vllm"]], [nodes("CPU"), nodes("GPU")], None)
    assert isinstance(choice, Choice)
    assert choice.runtime.engines.keys() == {"GPU"}
    assert "CPU" in runtimes["vllm"].engines


def write() -> None:
    """Write the files."""
    runtimes = catalogue()
    for name, accelerator in PODS:
        text = yaml.safe_dump(rendered(runtimes[name], accelerator), sort_keys=False, width=120)
        (FILES / f"{name}-{accelerator.lower()}.yaml").write_text(text)


if __name__ == "__main__":
    write()
