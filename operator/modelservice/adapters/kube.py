"""The Kubernetes API over kubernetes.aio: plain dicts, one request per call, typed errors, the server's clock."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Literal, Self
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from modelservice.adapters.errors import from_response, from_silence
from modelservice.kit.errors import Expired, Unavailable
from modelservice.kit.meter import Meter, NoMeter
from modelservice.ports import RESOURCES, Answer, Connection, Listing, Object, Resource

JSON = "application/json"
APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"

TIMEOUT_SECONDS = 30
CONNECT_SECONDS = 5
FULL_LIST_TRIES = 3


class LoginFailed(Exception):
    """There are no usable credentials; the message says what was tried."""


async def login(kubeconfig: str = "") -> Configuration:
    """Credentials of that kubeconfig file, else of the pod's ServiceAccount, else of KUBECONFIG or ~/.kube/config.

    The configuration reads a ServiceAccount's token again as it is renewed. Raises LoginFailed.
    """
    configuration = Configuration()
    configuration.connection_pool_maxsize = 64
    try:
        if not kubeconfig and "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        else:
            await config.load_kube_config(  # type: ignore[no-untyped-call]
                kubeconfig or None, client_configuration=configuration
            )
    except (config.ConfigException, OSError) as error:
        where = kubeconfig or "the pod's ServiceAccount, KUBECONFIG and ~/.kube/config"
        raise LoginFailed(f"No way to log in to Kubernetes through {where}: {error}") from error
    return configuration


async def connection(configuration: Configuration) -> Connection:
    """The credentials as they are now, for another client."""
    header = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
    return Connection(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        token=header.split()[-1] if header else None,
    )


class Kube:
    """Implements ports.KubeClient. Close it when done; it may be used as an asynchronous context manager."""

    def __init__(self, configuration: Configuration, *, user_agent: str, meter: Meter | None = None) -> None:
        self.configuration = configuration
        self._api = ApiClient(configuration)
        self._user_agent = user_agent
        self._meter = meter or NoMeter()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def list(
        self,
        kind: str,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        chunk: int = 500,
    ) -> Listing:
        """List a kind in pages; a list whose pages expire half-way begins again, at most three times."""
        query = {"limit": str(chunk)}
        if label_selector:
            query["labelSelector"] = label_selector
        if field_selector:
            query["fieldSelector"] = field_selector
        resource = RESOURCES[kind]
        for _ in range(FULL_LIST_TRIES):
            try:
                return await self._pages(resource, resource.path(namespace), query)
            except Expired:
                continue
        raise Unavailable(f"GET {resource.plural}: the list expired {FULL_LIST_TRIES} times before its last page")

    async def get(self, kind: str, namespace: str, name: str) -> Answer:
        """Read one object from the quorum."""
        return await self._send("GET", RESOURCES[kind].path(namespace, name))

    async def apply(self, obj: Object, *, manager: str, force: bool = True) -> Answer:
        """Server-side apply one object."""
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        return await self._send("PATCH", _path_of(obj), query, obj, APPLY)

    async def create(self, obj: Object, *, manager: str) -> Answer:
        """Store a new object."""
        meta = obj["metadata"]
        path = RESOURCES[obj["kind"]].path(meta.get("namespace", ""))
        return await self._send("POST", path, {"fieldManager": manager}, obj)

    async def replace(self, obj: Object, *, manager: str) -> Answer:
        """PUT one object with its resourceVersion as the precondition."""
        return await self._put(obj, manager, "")

    async def replace_status(self, obj: Object, *, manager: str) -> Answer:
        """PUT the status of one object with its resourceVersion as the precondition."""
        return await self._put(obj, manager, "status")

    async def patch_json(
        self, kind: str, namespace: str, name: str, operations: Sequence[Mapping[str, Any]], *, manager: str
    ) -> Answer:
        """Send a JSON patch."""
        path = RESOURCES[kind].path(namespace, name)
        return await self._send("PATCH", path, {"fieldManager": manager}, list(operations), JSON_PATCH)

    async def patch_merge(
        self, kind: str, namespace: str, name: str, patch: Mapping[str, Any], *, manager: str
    ) -> Answer:
        """Send a JSON merge patch."""
        path = RESOURCES[kind].path(namespace, name)
        return await self._send("PATCH", path, {"fieldManager": manager}, dict(patch), MERGE_PATCH)

    async def delete(
        self,
        kind: str,
        namespace: str,
        name: str,
        *,
        uid: str,
        resource_version: str | None = None,
        grace_seconds: int | None = None,
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
    ) -> Answer:
        """Delete one object if it still is the one meant."""
        preconditions = {"uid": uid}
        if resource_version is not None:
            preconditions["resourceVersion"] = resource_version
        options: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": preconditions,
            "propagationPolicy": propagation,
        }
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        return await self._send("DELETE", RESOURCES[kind].path(namespace, name), None, options)

    async def _put(self, obj: Object, manager: str, subresource: str) -> Answer:
        if not obj["metadata"].get("resourceVersion"):
            raise ValueError(f"a replaced {obj['kind']} needs the resourceVersion that it was read with")
        return await self._send("PUT", _path_of(obj, subresource), {"fieldManager": manager}, obj)

    async def _pages(self, resource: Resource, path: str, query: Mapping[str, str]) -> Listing:
        items: list[Object] = []
        date, token = 0, ""
        while True:
            answer = await self._send("GET", path, {**query, "continue": token} if token else query)
            for item in answer.object["items"]:
                item.setdefault("apiVersion", resource.api_version)
                item.setdefault("kind", resource.kind)
                items.append(item)
            date = date or answer.date
            meta = answer.object["metadata"]
            token = meta.get("continue") or ""
            if not token:
                return Listing(items, meta["resourceVersion"], date)

    async def _send(
        self,
        verb: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
    ) -> Answer:
        request = f"{verb} {path}"
        url = self.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": JSON, "Content-Type": content_type, "User-Agent": self._user_agent}
        if token := await self.configuration.get_api_key_with_prefix("BearerToken", alias="authorization"):
            headers["Authorization"] = token
        started = time.monotonic()
        status = 0
        try:
            response = await self._api.rest_client.request(  # type: ignore[no-untyped-call]
                verb,
                url,
                headers=headers,
                body=body,
                _request_timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, sock_connect=CONNECT_SECONDS),
            )
            status = response.status
            data = await response.read()
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, OSError) as error:
            raise from_silence(error, request) from error
        finally:
            self._meter.count("api_requests_total", verb=verb, code=str(status or "none"))
            self._meter.observe("api_request_seconds", time.monotonic() - started, verb=verb)
        if status >= HTTPStatus.BAD_REQUEST:
            raise from_response(status, response.headers, data, request)
        try:
            return Answer(json.loads(data), _date(response.headers))
        except ValueError as error:
            raise from_silence(error, request) from error


def _path_of(obj: Object, subresource: str = "") -> str:
    meta = obj["metadata"]
    return RESOURCES[obj["kind"]].path(meta.get("namespace", ""), meta["name"], subresource)


def _date(headers: Mapping[str, str]) -> int:
    """The Date header in seconds since the epoch; raises ValueError where it is missing."""
    if (text := headers.get("Date")) is None:
        raise ValueError("the answer has no Date header")
    return int(parsedate_to_datetime(text).timestamp())
