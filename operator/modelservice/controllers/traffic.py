"""What the gateway has counted of the services that have a canary, in one query for all of them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from modelservice.domain.evidence import Evidence, Series, Traffic, collect
from modelservice.domain.specs import ServiceName
from modelservice.domain.times import parse_time
from modelservice.kit.errors import Unavailable
from modelservice.ports import MetricsSource, Object, Sample

REQUESTS = "modelservice_gateway_requests_total"
SECONDS = "modelservice_gateway_request_duration_seconds_bucket"
NAMED = ("__name__", "service_namespace", "service_name", "track", "code", "le")


def canaries(services: Iterable[Object]) -> dict[ServiceName, tuple[str, int]]:
    """The canaries: the revision, and since when each has the share that it has."""
    found = {}
    for obj in services:
        told = (obj.get("status") or {}).get("canary") or {}
        if told:
            name = ServiceName(obj["metadata"]["namespace"], obj["metadata"]["name"])
            found[name] = (told["revision"], parse_time(told["since"]) or 0)
    return found


def query(names: Iterable[ServiceName]) -> str:
    """PromQL for every series of these services."""
    names = sorted(names)
    spaces = "|".join(sorted({re.escape(name.namespace) for name in names}))
    own = "|".join(sorted({re.escape(name.name) for name in names}))
    chosen = f'service_namespace=~"{spaces}",service_name=~"{own}"'.replace("\\", "\\\\")
    return f'{{__name__=~"{REQUESTS}|{SECONDS}",{chosen}}}'


async def watch(
    source: MetricsSource | None, about: Mapping[ServiceName, tuple[str, int]], before: Mapping[ServiceName, Evidence]
) -> dict[ServiceName, Evidence]:
    """Look once and add up what has come."""
    if not about:
        return {}
    read = await _read(source, about)
    return {name: collect(before.get(name), since, read.get(name, Traffic())) for name, since in about.items()}


async def _read(source: MetricsSource | None, names: Iterable[ServiceName]) -> dict[ServiceName, Traffic]:
    names = list(names)
    if source is None:
        return dict.fromkeys(names, Traffic(problem="no Prometheus is configured: set prometheus.url of the chart"))
    try:
        return assemble(await source.query(query(names)))
    except Unavailable as error:
        return dict.fromkeys(names, Traffic(problem=str(error).rstrip(".")))


def assemble(samples: Sequence[Sample]) -> dict[ServiceName, Traffic]:
    """The samples by service and replica of the gateway; values that are no counts are left out."""
    replicas: dict[ServiceName, dict[str, dict[tuple[str, Series], float]]] = {}
    for sample in samples:
        labels = sample.labels
        name = ServiceName(labels.get("service_namespace", ""), labels.get("service_name", ""))
        series = (
            ("code", labels.get("code", "")) if labels.get("__name__") == REQUESTS else ("le", labels.get("le", ""))
        )
        if not math.isfinite(sample.value) or sample.value < 0:
            continue
        replica = " ".join(f"{key}={value}" for key, value in sorted(labels.items()) if key not in NAMED)
        own = replicas.setdefault(name, {}).setdefault(replica, {})
        own[labels.get("track", ""), series] = sample.value
    return {name: Traffic(own) for name, own in replicas.items()}
