"""ModelRuntime: an engine that serves or trains, per accelerator. What a platform team writes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelservice.api.fields import API_VERSION, ATOMIC, SET, FormatName, Image, Quantity, Shape, keyed
from modelservice.api.meta import ObjectMeta
from modelservice.api.pod import Env, Words

Name = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")]
Series = Annotated[tuple[Name, ...], Field(max_length=8), ATOMIC]
UrlPath = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^/[^\s?#]*$")]


class RuntimeMetrics(Shape):
    """Names of the engine's series: of several the first that a pod has counts, summed over its other labels.

    A metric of scaling that needs an absent one cannot be used with this engine.
    """

    requests_running: Annotated[Series, Field(description="Gauge: requests that are being answered.")] = ()
    requests_waiting: Annotated[Series, Field(description="Gauge: requests that wait for their turn.")] = ()
    requests_total: Annotated[Series, Field(description="Counter: requests answered.")] = ()
    activity_total: Annotated[
        Series,
        Field(
            description="Counter that every request moves, where they are not counted: minReplicas 0 needs one of them."
        ),
    ] = ()


class Probes(Shape):
    """How the kubelet asks the engine how it is, on its port; 200 is yes."""

    live_path: Annotated[
        UrlPath,
        Field(description="Answers once the process has started; a pod whose path stops to answer is restarted."),
    ] = "/v2/health/live"
    ready_path: Annotated[UrlPath, Field(description="Answers while requests may be sent.")] = "/v2/health/ready"
    start_seconds: Annotated[
        int,
        Field(
            ge=1, le=86_400, description="A pod whose livePath has not answered so long after its start is restarted."
        ),
    ] = 1800


class Drain(Shape):
    """How a replica stops. Pools that are not paid for so long (billing.stopSeconds) are not used."""

    delay_seconds: Annotated[
        int,
        Field(ge=0, le=300, description="Before the engine is told to stop: no new requests are sent to it meanwhile."),
    ] = 5
    timeout_seconds: Annotated[
        int,
        Field(ge=1, le=3600, description="What the engine has to answer its last requests and end, then it is killed."),
    ]


AcceleratorType = Literal["CPU", "GPU", "TPU"]


class ModelFormat(Shape):
    """A format of models for which the engine is chosen when a service names no runtime."""

    name: Annotated[
        FormatName, Field(description="The format, for example gguf, huggingface, onnx, openvino or torch.export.")
    ]
    priority: Annotated[
        int, Field(ge=0, le=1000, description="Of the runtimes that fit, the one with the highest is chosen.")
    ] = 0
    accelerators: Annotated[
        tuple[AcceleratorType, ...],
        Field(max_length=3, description="On which of its accelerators it is chosen; empty means on each."),
        SET,
    ] = ()


class RuntimeAccelerator(Shape):
    """How the engine runs on one type of accelerator."""

    type: Annotated[AcceleratorType, Field(description="The type of accelerator.")]
    image: Annotated[Image, Field(description="The image of the engine.")]
    command: Annotated[Words, Field(description="Its program instead of the image's entrypoint.")] = ()
    args: Annotated[
        Words,
        Field(
            description="Its arguments; $(MODEL_NAME), $(MODEL_PATH), $(PORT), $(DEVICES) and $(CPU_THREADS) stand for "
            "what the replica has."
        ),
    ] = ()
    env: Annotated[
        Env, Field(description="Its environment variables, with the same references; those of the service win.")
    ] = ()
    shared_memory: Annotated[
        Quantity | None,
        Field(description="The size of /dev/shm, part of the pod's memory; absent: what the node gives, mostly 64Mi."),
    ] = None


class ModelRuntimeSpec(Shape):
    """What the engine is."""

    role: Annotated[Literal["Inference", "Training"], Field(description="What it is for.")]
    launcher: Annotated[
        Literal["Plain"], Field(description="How its processes are started. Plain: the image as it is, one process.")
    ] = "Plain"
    port: Annotated[int, Field(ge=1024, le=65_535, description="The port on which it serves requests and metrics.")] = (
        8080
    )
    metrics_path: Annotated[UrlPath, Field(description="The path of its Prometheus metrics.")] = "/metrics"
    metrics: Annotated[RuntimeMetrics | None, Field(description="Names of its series; absent means none.")] = None
    supported_model_formats: Annotated[
        tuple[ModelFormat, ...],
        Field(max_length=16, description="For which models it is chosen; a service that names it may serve any."),
        keyed("name"),
    ] = ()
    probes: Annotated[
        Probes, Field(description="How it is asked how it is; absent: as Open Inference Protocol v2.")
    ] = Probes()
    drain: Annotated[
        Drain | None,
        Field(
            description="How a replica stops; absent: a delay of 5 seconds, and what the pool is paid for after it, "
            "15 to 60 seconds in all."
        ),
    ] = None
    accelerators: Annotated[
        tuple[RuntimeAccelerator, ...],
        Field(min_length=1, max_length=3, description="The types of accelerators it runs on."),
        keyed("type"),
    ]


class ModelRuntime(Shape):
    """An engine that serves models or runs training, with its image and arguments for each type of accelerator."""

    api_version: Literal["modelservice.dev/v1alpha1"] = API_VERSION
    kind: Literal["ModelRuntime"] = "ModelRuntime"
    metadata: ObjectMeta
    spec: Annotated[ModelRuntimeSpec, Field(description="What the engine is.")]
