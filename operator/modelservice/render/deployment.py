"""One Deployment for each placement of a service. Its replicas are the funded ones; nothing else of it ever changes."""

from __future__ import annotations

from typing import Any

from modelservice.domain.specs import Artifact, Inference, Pool, Role, Runtime, Service
from modelservice.render.labels import ARTIFACT, DIGEST, NAME, PLACEMENT, ROLE, owner, pod_labels
from modelservice.render.pod import container, pod_spec, volumes_of

MODELS = "/mnt/models"
WEIGHTS = "modelservice-weights"
DRAIN_SECONDS = 5
"""Between the order to stop and the signal to the process: endpoints are withdrawn everywhere meanwhile."""


def deployment_name(service: Service, placement: str) -> str:
    """The name of the Deployment of a placement."""
    return f"{service.name.name}-{placement}"


def deployment(
    service: Service, spec: Inference, runtime: Runtime, pool: Pool, artifact: Artifact, placement: str, replicas: int
) -> dict[str, Any]:
    """The Deployment of one placement."""
    labels = pod_labels(service.name, Role.INFERENCE, placement, pool.name)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": deployment_name(service, placement),
            "namespace": service.name.namespace,
            "labels": labels,
            "annotations": {ARTIFACT: str(artifact.where), DIGEST: artifact.digest},
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
                "spec": _pod(service, spec, runtime, pool, artifact),
            },
        },
    }


def _pod(service: Service, spec: Inference, runtime: Runtime, pool: Pool, artifact: Artifact) -> dict[str, Any]:
    engine = runtime.engines[pool.accelerator]
    variables = {
        "MODEL_NAME": service.name.name,
        "MODEL_PATH": f"{MODELS}/{artifact.where.path}",
        "PORT": str(runtime.port),
    }
    mounts = [{"name": WEIGHTS, "mountPath": MODELS, "readOnly": True}]
    main = container(spec.pod, engine, pool, args=spec.pod.args or engine.args, env=variables, mounts=mounts)
    main["ports"] = [{"name": "http", "containerPort": runtime.port, "protocol": "TCP"}]
    main["startupProbe"] = _probe(runtime.probes.live, period=1, failures=runtime.probes.start)
    main["readinessProbe"] = _probe(runtime.probes.ready, period=2, failures=2)
    main["livenessProbe"] = _probe(runtime.probes.live, period=10, failures=6)
    delay = DRAIN_SECONDS if runtime.drain is None else runtime.drain.delay
    if delay:
        main["lifecycle"] = {"preStop": {"sleep": {"seconds": delay}}}
    claim = {"claimName": artifact.where.claim, "readOnly": True}
    volumes = [{"name": WEIGHTS, "persistentVolumeClaim": claim}, *volumes_of(spec.pod, engine)]
    return pod_spec(pool, main, volumes, restart="Always", drain=runtime.drain)


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "http", "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }
