"""ModelRuntime: an engine that serves or trains, per accelerator. What a platform team writes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelservice.api.fields import API_VERSION, Image, Shape, keyed
from modelservice.api.meta import ObjectMeta
from modelservice.api.pod import Env, Words

Series = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")]


class RuntimeMetrics(Shape):
    """Names of the engine's series. A metric of scaling that needs an absent one cannot be used with this engine."""

    requests_running: Annotated[Series | None, Field(description="Gauge: requests that are being answered.")] = None
    requests_waiting: Annotated[Series | None, Field(description="Gauge: requests that wait for their turn.")] = None
    requests_total: Annotated[Series | None, Field(description="Counter: requests answered.")] = None


class RuntimeAccelerator(Shape):
    """How the engine runs on one type of accelerator."""

    type: Annotated[Literal["CPU", "GPU", "TPU"], Field(description="The type of accelerator.")]
    image: Annotated[Image, Field(description="The image of the engine.")]
    args: Annotated[
        Words,
        Field(description="Its arguments; $(MODEL_NAME), $(MODEL_PATH) and $(PORT) stand for what the service needs."),
    ] = ()
    env: Annotated[Env, Field(description="Its environment variables; those of the service win.")] = ()


class ModelRuntimeSpec(Shape):
    """What the engine is."""

    role: Annotated[Literal["Inference", "Training"], Field(description="What it is for.")]
    launcher: Annotated[
        Literal["Plain"], Field(description="How its processes are started. Plain: the image as it is, one process.")
    ] = "Plain"
    port: Annotated[int, Field(ge=1024, le=65_535, description="The port on which it serves requests and metrics.")] = (
        8080
    )
    metrics_path: Annotated[
        str,
        Field(min_length=1, max_length=253, pattern=r"^/[^\s?#]*$", description="The path of its Prometheus metrics."),
    ] = "/metrics"
    metrics: Annotated[RuntimeMetrics | None, Field(description="Names of its series; absent means none.")] = None
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
