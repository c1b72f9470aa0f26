"""One Deployment for each placement of a service. Its replicas are the funded ones; nothing else of it ever changes."""

from __future__ import annotations

from typing import Any

from modelservice.domain.placement import drain_of
from modelservice.domain.specs import Artifact, Download, Inference, Json, Pool, Role, Runtime, Service
from modelservice.render.fetch import FETCH, MODELS, WEIGHTS, fetch_container, model_path, weights_volume
from modelservice.render.hashing import revision_id
from modelservice.render.labels import (
    ARTIFACT,
    DIGEST,
    NAME,
    PLACEMENT,
    POD_REVISION,
    REVISION,
    ROLE,
    SIZE,
    owner,
    pod_labels,
)
from modelservice.render.pod import container, pod_spec, volumes_of


def deployment_name(service: Service, placement: str) -> str:
    """The name of the Deployment of a placement."""
    return f"{service.name.name}-{placement}"


def fetcher_of(obj: Json | None) -> str:
    """The image that downloads in a Deployment, "" where none does. It stays when the operator has a newer one."""
    containers = obj["spec"]["template"]["spec"].get("initContainers") or () if obj else ()
    return next((str(one["image"]) for one in containers if one["name"] == FETCH), "")


def deployment(
    service: Service,
    spec: Inference,
    runtime: Runtime,
    pool: Pool,
    artifact: Artifact,
    placement: str,
    replicas: int,
    fetcher: str = "",
) -> dict[str, Any]:
    """The Deployment of one placement; `fetcher` is the image that downloads a model which is not on a claim."""
    revision = revision_id(spec, runtime, runtime.engines[pool.accelerator], artifact)
    labels = {**pod_labels(service.name, Role.INFERENCE, placement, pool.name), POD_REVISION: revision}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": deployment_name(service, placement),
            "namespace": service.name.namespace,
            "labels": labels,
            "annotations": _notes(artifact),
            "ownerReferences": owner(service),
        },
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 0,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "selector": {"matchLabels": {key: labels[key] for key in (NAME, ROLE, PLACEMENT)}},
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": str(runtime.port),
                        "prometheus.io/path": runtime.metrics_path,
                    },
                },
                "spec": _pod(service, spec, runtime, pool, artifact, fetcher),
            },
        },
    }


def _notes(artifact: Artifact) -> dict[str, str]:
    notes = {ARTIFACT: str(artifact.where), DIGEST: artifact.digest}
    if artifact.revision:
        notes |= {REVISION: artifact.revision, SIZE: str(artifact.size_bytes)}
    return notes


def _pod(
    service: Service, spec: Inference, runtime: Runtime, pool: Pool, artifact: Artifact, fetcher: str
) -> dict[str, Any]:
    engine, drain = runtime.engines[pool.accelerator], drain_of(runtime, pool)
    variables = {
        "MODEL_NAME": service.name.name,
        "MODEL_PATH": model_path(artifact),
        "PORT": str(runtime.port),
        "MODELSERVICE_STOP_SECONDS": str(drain.timeout),
        **({"MODELSERVICE_REMOTE_CODE": "Allow"} if artifact.remote_code else {}),
    }
    mounts = [{"name": WEIGHTS, "mountPath": MODELS, "readOnly": True}]
    main = container(spec.pod, engine, pool, args=spec.pod.args or engine.args, env=variables, mounts=mounts)
    main["ports"] = [{"name": "http", "containerPort": runtime.port, "protocol": "TCP"}]
    main["startupProbe"] = _probe(runtime.probes.live, period=1, failures=runtime.probes.start)
    main["readinessProbe"] = _probe(runtime.probes.ready, period=2, failures=2)
    main["livenessProbe"] = _probe(runtime.probes.live, period=10, failures=6)
    if drain.delay:
        main["lifecycle"] = {"preStop": {"sleep": {"seconds": drain.delay}}}
    volumes = [weights_volume(artifact), *volumes_of(spec.pod, engine)]
    made = pod_spec(pool, main, volumes, restart="Always", drain=drain)
    if isinstance(artifact.where, Download):
        made["initContainers"] = [
            fetch_container(artifact.where, fetcher, runtime.port, main["resources"], remote_code=artifact.remote_code)
        ]
    return made


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "http", "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }
