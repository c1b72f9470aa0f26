"""The life of the server: listen, load, serve, drain, exit."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from modelservice_workers.common.errors import ArtifactError, WorkerError
from modelservice_workers.serving.app import App, refuse
from modelservice_workers.serving.batcher import Batcher, BatchLimits
from modelservice_workers.serving.engines.source import LoadOptions
from modelservice_workers.serving.http.server import HttpServer
from modelservice_workers.serving.metrics import ServerMetrics, UtilizationMeter
from modelservice_workers.serving.model import LoadedModel, load_model
from modelservice_workers.serving.modelthread import ModelThread
from modelservice_workers.serving.settings import ServeSettings
from modelservice_workers.serving.state import Phase, ServedModel, ServerState

# The default of 5 ms would keep the event loop waiting for the model thread, and the other way round.
_SWITCH_INTERVAL_SECONDS: Final = 0.0005

_STOP_THREAD_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


def open_socket(host: str, port: int) -> socket.socket:
    """Bind the listening socket; raises WorkerError when the address cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        raise WorkerError(f"The server cannot listen on {host} port {port}: {error.strerror}.") from error
    return listener


def serve(settings: ServeSettings) -> None:
    """Serve until SIGTERM or SIGINT, then drain; raises WorkerError when the model cannot be loaded."""
    listener = open_socket(settings.host, settings.port)

    def load() -> LoadedModel:
        options = LoadOptions(settings.threads, settings.max_batch_rows, settings.cpu_features, settings.remote_code)
        return load_model(Path(settings.model_path), options)

    sys.setswitchinterval(_SWITCH_INTERVAL_SECONDS)
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(Lifecycle(settings, listener, load).run())


def _new_loop() -> asyncio.AbstractEventLoop:
    import uvloop  # noqa: PLC0415 - only the process that serves pays for it

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


class Lifecycle:
    """One server from its first health check to its end."""

    def __init__(self, settings: ServeSettings, listener: socket.socket, load: Callable[[], LoadedModel]) -> None:
        """`load` is called once, in the model thread; it may raise WorkerError."""
        self._load_model = load
        self._settings = settings
        self._listener = listener
        self._state = ServerState(
            settings.model_name,
            settings.max_body_bytes,
            settings.request_timeout_seconds,
            ServerMetrics(settings.model_name),
        )
        self._http = HttpServer(App(self._state).handle, refuse, settings.max_body_bytes)
        self._load_error: WorkerError | None = None

    async def run(self) -> None:
        """Serve until `stop_soon` and the drain are over; raises WorkerError when the model cannot be loaded."""
        self._loop = asyncio.get_running_loop()
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()
        self._thread = ModelThread(self._loop)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._loop.add_signal_handler(number, self.stop_soon, number)
        await self._http.start(self._listener)
        host, port = self._listener.getsockname()[:2]
        _log.info("Listening on %s:%d", host, port)
        life = self._loop.create_task(self._load_and_meter())
        try:
            await self._stop.wait()
            await self._http.finish(self._settings.drain_timeout_seconds, self._hurry)
            if self._state.model is not None:
                self._state.model.batcher.give_up()
            await self._http.close()
        finally:
            life.cancel()
            gc.unfreeze()
            stopped = self._thread.stop(_STOP_THREAD_SECONDS)
        if self._load_error is not None:
            raise self._load_error
        _log.info("Stopped%s", "" if stopped else " while the model was still computing")

    async def _load_and_meter(self) -> None:
        await self._load()
        meter = UtilizationMeter(lambda: self._thread.busy_seconds)
        state = self._state
        state.metrics.watch(lambda: state.waiting, lambda: state.running, meter.read)
        while True:
            await asyncio.sleep(1)
            meter.sample()
            if state.model is not None:
                state.model.batcher.sweep()

    async def _load(self) -> None:
        settings = self._settings
        started = time.monotonic()
        try:
            model = await self._thread.run(self._load_model)
        except WorkerError as error:
            self._fail(error)
            return
        except Exception as error:  # noqa: BLE001 - whatever a model does, the reader of the log gets a sentence
            _log.exception("Loading the model failed")
            self._fail(ArtifactError(f"The model could not be loaded: {type(error).__name__}: {error}"))
            return
        # Torch leaves 170,000 objects behind; without this each full collection stops the server for 70 ms and more.
        gc.collect()
        gc.freeze()
        limits = BatchLimits(
            settings.max_batch_rows,
            settings.max_queue_requests,
            settings.max_queue_bytes,
            model.inline_rows,
            model.merge,
        )
        batcher = Batcher(model.engine, self._thread, limits, self._state.metrics.observe_batch)
        seconds = time.monotonic() - started
        self._state.model = ServedModel(model.engine.signature, model.info, batcher, int(time.time()))
        self._state.metrics.set_loaded(model.info, seconds)
        if self._state.phase is Phase.LOADING:
            self._enter(Phase.SERVING)
            _log.info("Model %s is ready after %.1f s", settings.model_name, seconds)

    def _fail(self, error: WorkerError) -> None:
        self._load_error = error
        self._stop.set()

    def stop_soon(self, number: int) -> None:
        """Handle a signal, from any thread: begin to drain; a second SIGINT ends the wait for open requests."""
        self._loop.call_soon_threadsafe(self._begin_drain, number)

    def _begin_drain(self, number: int) -> None:
        if self._state.phase is Phase.DRAINING:
            if number == signal.SIGINT:
                self._hurry.set()
                self._stop.set()
            return
        delay = self._settings.drain_delay_seconds if self._state.ready else 0.0
        self._enter(Phase.DRAINING)
        self._http.drain()
        _log.info("%s: draining, requests are taken for %g s more", signal.Signals(number).name, delay)
        self._loop.call_later(delay, self._stop.set)

    def _enter(self, phase: Phase) -> None:
        self._state.phase = phase
        self._state.metrics.set_ready(ready=self._state.ready)
