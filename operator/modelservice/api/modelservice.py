"""ModelService: trains one model or takes a trained one, and serves it. What a user writes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from modelservice.api.fields import (
    API_VERSION,
    ATOMIC,
    SET,
    FormatName,
    Image,
    Shape,
    Subdomain,
    Word,
    claim_path,
    model_address,
    rules,
)
from modelservice.api.meta import ObjectMeta
from modelservice.api.pod import Env, Resources, Volumes, Words
from modelservice.api.rollout import RolloutSpec
from modelservice.api.service_status import ModelServiceStatus

DNS_LABEL = (
    "metadata.name must be a DNS label: lower-case letters, digits and hyphens, a letter first, no dot; "
    "write qwen2-5 instead of qwen2.5."
)

AcceleratorType = Literal["CPU", "GPU", "TPU"]

StorageUri = Annotated[str, Field(min_length=1, max_length=1024)]


class Placement(Shape):
    """Where pods may run."""

    pools: Annotated[
        tuple[Subdomain, ...],
        Field(max_length=32, description="Names of the ComputePools to choose from; empty means every pool."),
        SET,
    ] = ()
    accelerators: Annotated[
        tuple[AcceleratorType, ...],
        Field(max_length=3, description="Types of accelerators to choose from, in no order; empty means every type."),
        SET,
    ] = ()


class SecretRef(Shape):
    """A Secret of the namespace."""

    name: Annotated[Subdomain, Field(description="The name of the Secret.")]


class Model(Shape):
    """A trained model that exists already."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.secretRef) || !self.storageUri.startsWith('pvc://')",
                "model.secretRef must not be set for a model on a claim: nothing is downloaded, so no key is needed.",
            )
        )
    )

    storage_uri: Annotated[
        StorageUri,
        Field(
            description="Where the model lies: pvc://<claim>/<path>, or hf://<organisation>/<name>[@<revision>], "
            "s3://, gs://, https:// or http://, which each pod downloads before it serves."
        ),
        *model_address("model.storageUri"),
    ]
    secret_ref: Annotated[
        SecretRef | None,
        Field(
            description="What opens the place: each key becomes a variable of the download, for example HF_TOKEN, "
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL."
        ),
    ] = None
    remote_code: Annotated[
        Literal["Allow", "Deny"],
        Field(
            description="Whether Python code that the model brings may run in the pod: trust its authors first, with "
            "the pod's data and network."
        ),
    ] = "Deny"
    parameter_count: Annotated[
        str | None,
        Field(
            max_length=16,
            pattern=r"^[0-9]{1,6}(\.[0-9]{1,3})?[KMBT]$",
            description="How many parameters it has, for example 7B; modelservice plan uses it where it cannot look "
            "into the files.",
        ),
    ] = None


class ConfigMapRef(Shape):
    """A ConfigMap of the namespace."""

    name: Annotated[Subdomain, Field(description="The name of the ConfigMap.")]


class Files(Shape):
    """Files for the training process."""

    config_map_ref: Annotated[
        ConfigMapRef, Field(description="Each key becomes a file in /workspace, the working directory of the process.")
    ]


class Output(Shape):
    """Where a training run leaves the model."""

    storage_uri: Annotated[
        StorageUri,
        Field(description="pvc://<claim>/<path>; each attempt publishes below it as <run>/<attempt>."),
        claim_path("training.output.storageUri"),
    ]


class Training(Shape):
    """A training process that ends with a model. It runs once; a change of these fields starts a new run."""

    runtime: Annotated[Subdomain, Field(description="The ModelRuntime with role Training that runs the process.")]
    image: Annotated[Image | None, Field(description="An image instead of the runtime's.")] = None
    command: Annotated[
        tuple[Word, ...],
        Field(
            min_length=1, max_length=128, description="The program and its first words, for example [python, train.py]."
        ),
        ATOMIC,
    ]
    args: Annotated[Words, Field(description="More words for the program.")] = ()
    env: Annotated[Env, Field(description="Environment variables of the process.")] = ()
    resources_per_node: Annotated[Resources, Field(description="What the pod on one node asks for.")]
    placement: Annotated[Placement | None, Field(description="Where it may run; absent means every pool.")] = None
    files: Annotated[Files | None, Field(description="Files for the process.")] = None
    output: Annotated[Output, Field(description="Where the model goes.")]
    backoff_limit: Annotated[
        int,
        Field(ge=0, le=100, description="How many failed attempts are repeated; interruptions do not count."),
    ] = 3


class ScaleToZero(Shape):
    """When a service with minReplicas 0 is parked."""

    idle_seconds: Annotated[
        int, Field(ge=1, le=604_800, description="How long nobody must have asked for it before its replicas end.")
    ] = 300
    hold_timeout_seconds: Annotated[
        int | None,
        Field(ge=1, le=3600, description="How long the gateway holds a request for it; absent: as the gateway is set."),
    ] = None


class Scaling(Shape):
    """By which metric the number of replicas follows the load."""

    scale_metric: Annotated[
        Literal["Concurrency", "RPS"],
        Field(description="Concurrency: requests running and waiting. RPS: requests answered a second."),
    ] = "Concurrency"
    scale_target: Annotated[int, Field(ge=1, le=1_000_000, description="How much of the metric one replica carries.")]
    scale_down_delay_seconds: Annotated[
        int, Field(ge=0, le=86_400, description="How long fewer replicas must suffice before one is taken away.")
    ] = 300
    scale_to_zero: Annotated[
        ScaleToZero | None,
        Field(description="When the last replica is taken away too; only counts with minReplicas 0."),
    ] = None


class Inference(Shape):
    """How the model is served."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
                "inference.minReplicas must not be above inference.maxReplicas.",
            ),
            (
                "self.minReplicas > 0 || has(self.maxReplicas)",
                "inference.maxReplicas must be set when minReplicas is 0: it says how many replicas requests may wake.",
            ),
            (
                "!has(self.maxReplicas) || self.minReplicas >= self.maxReplicas || has(self.scaling)",
                (
                    "inference.scaling must be set when maxReplicas is above minReplicas: "
                    "it says by which metric the number of replicas moves."
                ),
            ),
        )
    )

    runtime: Annotated[
        Subdomain | None,
        Field(
            description="The ModelRuntime with role Inference that serves the model; absent: chosen by the model's "
            "format and the accelerators, see status.resolved."
        ),
    ] = None
    model_format: Annotated[
        FormatName | None,
        Field(
            description="The model's format where the end of model.storageUri does not say it, for example huggingface."
        ),
    ] = None
    image: Annotated[Image | None, Field(description="An image instead of the runtime's.")] = None
    args: Annotated[Words, Field(description="Arguments instead of the runtime's; $(NAME) stands for a variable.")] = ()
    env: Annotated[Env, Field(description="Environment variables beside the runtime's.")] = ()
    resources: Annotated[Resources, Field(description="What one replica asks for.")]
    volumes: Annotated[Volumes, Field(description="More volumes for the container.")] = ()
    min_replicas: Annotated[
        int,
        Field(ge=0, le=10_000, description="The fewest replicas; 0: none while nobody asks, see scaling.scaleToZero."),
    ] = 1
    max_replicas: Annotated[
        int | None, Field(ge=1, le=10_000, description="The most replicas; absent means minReplicas.")
    ] = None
    placement: Annotated[Placement | None, Field(description="Where replicas may run; absent means every pool.")] = None
    scaling: Annotated[Scaling | None, Field(description="How replicas follow the load.")] = None
    rollout: Annotated[
        RolloutSpec | None, Field(description="How a new revision takes over; absent means strategy Overlap.")
    ] = None


class ModelServiceSpec(Shape):
    """What the user asks for."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.model) != has(self.training)",
                "spec must have exactly one of model (a trained model) and training (a run that makes one).",
            ),
            (
                "has(self.inference) || has(self.training)",
                "spec must have inference, training or both: a model alone has nothing to run.",
            ),
        )
    )

    model: Annotated[Model | None, Field(description="The trained model to serve.")] = None
    training: Annotated[Training | None, Field(description="The run that makes the model to serve.")] = None
    inference: Annotated[Inference | None, Field(description="How to serve it; absent means train only.")] = None
    priority: Annotated[
        Literal["Critical", "Standard", "Batch"],
        Field(
            description="Its class. minReplicas of Critical and Standard are paid before more of any service, then the "
            "higher class is; pods beyond that, and all of Batch, give way to a higher class."
        ),
    ] = "Standard"
    suspend: Annotated[
        bool, Field(description="Stop every pod of the service and start none; results of training stay.")
    ] = False


NAME_RULES = (
    (
        "self.metadata.name.size() <= 40",
        "metadata.name must not be longer than 40 characters: names of pods and Services are made from it.",
    ),
    (
        "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        DNS_LABEL,
    ),
)


class ModelService(Shape):
    """Trains one model, or takes a trained one, and serves it on the cheapest hardware that fits, inside a budget."""

    api_version: Literal["modelservice.dev/v1alpha1"] = API_VERSION
    kind: Literal["ModelService"] = "ModelService"
    metadata: ObjectMeta
    spec: Annotated[ModelServiceSpec, Field(description="What is asked for.")]
    status: Annotated[ModelServiceStatus, Field(description="What is there.")] = ModelServiceStatus()
