"""One request from its head to the end of its answer."""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web

from modelservice.gateway import routing
from modelservice.gateway.balance import Replica, Track, usable
from modelservice.gateway.body import Body
from modelservice.gateway.directory import Directory, Target
from modelservice.gateway.headers import SERVER, closes, request_head, request_id_of
from modelservice.gateway.holding import Lobby
from modelservice.gateway.limits import Limits, Memory
from modelservice.gateway.passing import BrokeOff, ClientGone, Passed, pass_on
from modelservice.gateway.refusals import Refused, reply
from modelservice.gateway.routing import Route
from modelservice.gateway.upstream import Answer, Broken, NotReached, Upstream
from modelservice.kit.meter import Meter

log = logging.getLogger(__name__)

TRACK_HEADER = "X-Modelservice-Track"
NO_TRACK = "none"
CLIENT_GONE = 499
IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS"))
ATTEMPTS = 3


@dataclass(slots=True)
class State:
    """`draining` ends each connection with its next answer, `open` counts requests in work."""

    draining: bool = False
    open: int = 0


@dataclass(frozen=True, slots=True)
class Path:
    """What every request passes on its way."""

    directory: Directory
    lobby: Lobby
    upstream: Upstream
    limits: Limits
    memory: Memory
    meter: Meter
    state: State


async def handle(path: Path, request: web.BaseRequest) -> web.StreamResponse:
    """Answer one request."""
    path.state.open += 1
    try:
        return await Exchange(path, request).run()
    finally:
        path.state.open -= 1


class Exchange:
    """One request and its answer."""

    __slots__ = ("_body", "_id", "_path", "_request", "_target", "_track")

    def __init__(self, path: Path, request: web.BaseRequest) -> None:
        self._path = path
        self._request = request
        self._id = request_id_of(request.headers) or secrets.token_hex(16)
        self._body = Body(request, path.limits, path.memory)
        self._target: Target | None = None
        self._track = NO_TRACK

    async def run(self) -> web.StreamResponse:
        """Answer; what cannot be answered any more is cut off."""
        code = CLIENT_GONE
        try:
            response = await self._serve()
            code = response.status
        except Refused as refused:
            code = refused.status
            self._path.meter.count("refused_total", reason=refused.why)
            response = self._refuse(refused)
        except BrokeOff as error:
            code = HTTPStatus.BAD_GATEWAY
            log.warning("%s The client of request %s is cut off.", error, self._id)
            response = self._cut_off()
        except (ClientGone, ConnectionError):
            response = self._cut_off()
        except Exception:
            code = HTTPStatus.INTERNAL_SERVER_ERROR
            log.exception("The gateway failed on request %s", self._id)
            response = self._refuse(Refused(code, "The gateway failed on this request."))
        finally:
            self._body.release()
            self._path.meter.count("requests_total", **self._labels(), code=str(int(code)))
        return response

    async def _serve(self) -> web.StreamResponse:
        request = self._request
        route = await self._route()
        self._target = target = self._path.directory[route.service]
        if not target.service.serves:
            raise Refused(404, f"Service {route.service.namespace}/{route.service.name} only trains.")
        forced = self._forced_track()
        await self._body.fill()
        may_wait, began = routing.wakes(request.method, route.target), asyncio.get_running_loop().time()
        attempt = 0
        while True:
            attempt += 1
            replica = await self._path.lobby.find(target, forced, since=began, may_wait=may_wait)
            response = await self._ask(route, target, replica, last=attempt >= ATTEMPTS)
            if response is not None:
                return response

    async def _route(self) -> Route:
        request, directory = self._request, self._path.directory
        asked = routing.read_target(request.method, request.headers.get("Host", ""), request.raw_path)
        if (route := routing.by_host_or_path(asked, directory)) is not None:
            return route
        if not routing.is_by_model(asked):
            raise Refused(
                404,
                "This names no service. Ask for the host <name>.<namespace>, for the path /<namespace>/<name>/..., "
                "or POST to /v1/... with a service's name as the model.",
            )
        if "Content-Encoding" in request.headers:
            raise Refused(415, "The model of a compressed body is not read; ask for the service by its host or path.")
        await self._body.fill()
        if not self._body.complete:
            raise Refused(
                413,
                f"The model of a body above {self._path.limits.kept_bytes} bytes is not read; "
                "ask for the service by its host or path.",
            )
        return routing.by_model(asked, routing.read_model(self._body.kept), directory)

    def _forced_track(self) -> Track | None:
        given = self._request.headers.get(TRACK_HEADER)
        if given is None:
            return None
        try:
            return Track(given)
        except ValueError:
            raise Refused(400, f"{TRACK_HEADER} must be stable or canary.") from None

    async def _ask(self, route: Route, target: Target, replica: Replica, *, last: bool) -> web.StreamResponse | None:
        """Ask one replica; None where another may be asked the same."""
        began = asyncio.get_running_loop().time()
        again = False
        self._track = replica.track.value
        replica.in_flight += 1
        try:
            answer = await self._open(route, target, replica, last=last)
            if answer is None or self._is_draining(answer, target, replica, last=last):
                again = True
                return None
            self._body.release()
            return await self._pass(answer, replica)
        finally:
            replica.in_flight -= 1
            if not again:
                seconds = asyncio.get_running_loop().time() - began
                self._path.meter.observe("request_duration_seconds", seconds, **self._labels())

    async def _open(self, route: Route, target: Target, replica: Replica, *, last: bool) -> Answer | None:
        """Send the request and get the head of the answer; None where another replica may be asked."""
        request = self._request
        head = request_head(
            request.method,
            route.target,
            request.raw_headers,
            length=len(self._body.kept) if self._body.complete else request.content_length,
            client=request.remote or "unknown",
            host=request.headers.get("Host", ""),
            request_id=self._id,
        )
        where = f"Replica {replica.address.host}:{replica.address.port}"
        try:
            return await self._path.upstream.ask(replica.address, head, self._body, is_head=request.method == "HEAD")
        except NotReached as error:
            target.rest(replica)
            self._path.meter.count("retries_total", reason="NotReached")
            log.info("Replica %s", error)
            return None
        except TimeoutError:
            raise Refused(504, f"{where} sent nothing for {self._path.limits.silence:g} s.") from None
        except Broken as error:
            if self._body.failure is not None:
                raise self._body.failure from None
            if request.method in IDEMPOTENT and self._body.complete and not last:
                self._path.meter.count("retries_total", reason="BrokenOff")
                return None
            log.warning("%s did not answer request %s: %s", where, self._id, str(error) or type(error).__name__)
            raise Refused(502, f"{where} ended the connection without an answer.") from None

    def _is_draining(self, answer: Answer, target: Target, replica: Replica, *, last: bool) -> bool:
        """Whether a replica says that it takes nothing new, and another one can be asked."""
        message = answer.message
        if message.code != HTTPStatus.SERVICE_UNAVAILABLE or not closes(message.raw_headers):
            return False
        if last or not self._body.complete:
            return False
        target.rest(replica)
        now = asyncio.get_running_loop().time()
        if not any(usable(target.replicas[track].values(), now) for track in (replica.track, Track.STABLE)):
            return False
        self._path.meter.count("retries_total", reason="Draining")
        answer.close()
        return True

    async def _pass(self, answer: Answer, replica: Replica) -> web.StreamResponse:
        """Give the answer to the client as it comes."""
        request = self._request
        try:
            if answer.message.code < HTTPStatus.OK:
                raise Refused(502, "The replica changes the protocol, which the gateway does not pass on.")
            return await pass_on(
                answer,
                request,
                request_id=self._id,
                keep_alive=request.keep_alive and not self._path.state.draining,
                patience=self._path.limits.body,
            )
        except BrokeOff as error:
            where = f"{replica.address.host}:{replica.address.port}"
            raise BrokeOff(f"Replica {where} broke off its answer ({error}).") from error
        finally:
            answer.close(keep=not replica.gone)

    def _refuse(self, refused: Refused) -> web.StreamResponse:
        made = reply(refused, self._request.raw_path)
        headers = {**made.headers, "X-Request-Id": self._id, "Server": SERVER}
        response = web.Response(status=made.status, body=made.body, headers=headers)
        if self._path.state.draining:
            response.force_close()
        return response

    def _cut_off(self) -> web.StreamResponse:
        """End the connection, so that the client knows that the answer is not whole."""
        if (transport := self._request.transport) is not None:
            transport.close()
        return Passed(CLIENT_GONE, keep_alive=False)

    def _labels(self) -> dict[str, str]:
        namespace, name = self._target.service.ref if self._target is not None else ("", "")
        return {"service_namespace": namespace, "service_name": name, "track": self._track}
