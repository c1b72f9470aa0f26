"""Which service a request is for. Pure: names and paths in, a route or a refusal out.

In this order: the Host (`name.namespace`, or `name` alone), the path (`/<namespace>/<name>/...`), and on OpenAI's
routes the `model` in the body, everywhere (`/v1/...`) or in one namespace (`/<namespace>/v1/...`). A name alone counts
as long as one namespace has a service of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from modelservice.gateway.refusals import Refused
from modelservice.kit.objects import Ref

INFERENCE = re.compile(
    r"/v2/models/[^/]+(/versions/[^/]+)?/(infer|generate|generate_stream)"
    r"|/v1/models/[^/]+:predict"
    r"|/v1/(chat/completions|completions|embeddings|responses|messages|rerank|score|classify|moderations)"
    r"|/v1/(audio/(speech|transcriptions|translations)|images/(generations|edits))"
)
"""Routes on which a POST wakes a service that has no replica."""

BY_MODEL = re.compile(r"(/[^/]+)?/v1/.+")
"""Routes that may be told by the model in the body."""

PARTS_OF_A_ROUTE = 2


class Names(Protocol):
    """The services that there are."""

    def __contains__(self, ref: Ref) -> bool:
        """Whether there is one of that namespace and name."""
        ...

    def namespaces(self, name: str) -> Collection[str]:
        """The namespaces that have a service of that name."""
        ...


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes: the service, and the target that its replicas are asked for."""

    service: Ref
    target: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A request's method, its Host without port, and its target in origin form: a path, perhaps with a query."""

    method: str
    host: str
    target: str

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


def read_target(method: str, host: str, target: str) -> Asked:
    """The request line and the Host header, checked; a target in absolute form names its own host."""
    if "://" in target and not target.startswith("/"):
        try:
            parts = urlsplit(target)
        except ValueError:
            raise Refused(400, f"The request's target {target[:100]!r} is no URL.") from None
        host, target = parts.netloc, parts.path or "/"
        if parts.query:
            target = f"{target}?{parts.query}"
    if not target.startswith("/"):
        raise Refused(400, f"The request's target {target[:100]!r} is no path.")
    return Asked(method, _without_port(host), target.partition("#")[0])


def by_host_or_path(asked: Asked, names: Names) -> Route | None:
    """The route of a request that its Host or its path tells; raises Refused where a Host has two meanings."""
    name, _, rest = asked.host.partition(".")
    if rest and (ref := Ref(rest.partition(".")[0], name)) in names:
        return Route(ref, asked.target)
    parts = asked.target[1:].split("/", PARTS_OF_A_ROUTE)
    if len(parts) >= PARTS_OF_A_ROUTE:
        name, question, query = parts[1].partition("?")
        if (ref := Ref(parts[0], name)) in names:
            rest = parts[2] if len(parts) > PARTS_OF_A_ROUTE else ""
            return Route(ref, f"/{rest}{question}{query}")
    if asked.host and "." not in asked.host and (found := names.namespaces(asked.host)):
        if len(found) > 1:
            raise Refused(
                400, f"{len(found)} namespaces have a service {asked.host}; ask for the host {asked.host}.<namespace>."
            )
        return Route(Ref(next(iter(found)), asked.host), asked.target)
    return None


def is_by_model(asked: Asked) -> bool:
    """Whether the body may tell the service of a request that nothing else does."""
    return asked.method == "POST" and BY_MODEL.fullmatch(asked.path) is not None


def read_model(body: bytes) -> str:
    """The `model` of an OpenAI request; raises Refused where there is none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(400, "The body is no JSON, so it names no model; ask for a host or path of a service.") from None
    model = document.get("model") if isinstance(document, dict) else None
    if not isinstance(model, str) or not model:
        raise Refused(400, "The body has no string `model`, which is the name of a ModelService.")
    return model


def by_model(asked: Asked, model: str, names: Names) -> Route:
    """The route of an OpenAI request; raises Refused where no service, or more than one, has the model's name."""
    found = names.namespaces(model)
    if not asked.path.startswith("/v1/"):
        namespace, _, rest = asked.target[1:].partition("/")
        if namespace not in found:
            raise Refused(404, f"Namespace {namespace[:63]} has no service {model[:63]!r}.", code="model_not_found")
        return Route(Ref(namespace, model), f"/{rest}")
    if not found:
        raise Refused(404, f"There is no service {model[:63]!r}.", code="model_not_found")
    if len(found) > 1:
        raise Refused(
            400,
            f"{len(found)} namespaces have a service {model}; say which by the base URL /<namespace>/v1.",
            code="model_ambiguous",
        )
    return Route(Ref(next(iter(found)), model), asked.target)


def wakes(method: str, target: str) -> bool:
    """Whether a request for a service without a replica is held for one, and starts one."""
    return method == "POST" and INFERENCE.fullmatch(target.partition("?")[0]) is not None


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].rstrip(".").lower()
