"""Metrics of the inference server, in Prometheus' text format."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from modelservice_workers.serving.engine import ModelInfo

LATENCY_BUCKETS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64)

_UTILIZATION_WINDOW_SECONDS: Final = 10.0


class Histogram(Collector):
    """Counts values by buckets; observe() costs a third of a microsecond and is for one thread only."""

    def __init__(self, name: str, text: str, buckets: Sequence[float], model_name: str) -> None:
        self._name = name
        self._text = text
        self._model_name = model_name
        self._bounds = tuple(buckets)
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The series of this histogram."""
        names = [*map(str, map(float, self._bounds)), "+Inf"]
        family = HistogramMetricFamily(self._name, self._text, labels=["model_name"])
        buckets = list(zip(names, accumulate(self._counts), strict=True))
        family.add_metric([self._model_name], buckets, self._sum)
        yield family


class StatusCounter(Collector):
    """Counts requests by their HTTP status; for one thread only."""

    def __init__(self, name: str, text: str, model_name: str) -> None:
        self._name = name
        self._text = text
        self._model_name = model_name
        self._counts: dict[int, int] = {}

    def add(self, code: int, requests: int) -> None:
        """Count requests."""
        self._counts[code] = self._counts.get(code, 0) + requests

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The series of this counter."""
        family = CounterMetricFamily(self._name, self._text, labels=["model_name", "code"])
        for code, count in self._counts.items():
            family.add_metric([self._model_name, str(code)], count)
        yield family


class ServerMetrics:
    """One registry for one model; every series has the label model_name."""

    def __init__(self, model_name: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # the library's is bare
        self.registry = CollectorRegistry()
        self._model_name = model_name
        self._waiting = self._gauge("modelservice_requests_waiting", "Requests that wait for the model")
        self._running = self._gauge("modelservice_requests_running", "Requests that are parsed, computed or answered")
        self._utilization = self._gauge(
            "modelservice_utilization", "Share of the last 10 seconds in which the model computed"
        )
        self._ready = self._gauge("modelservice_model_ready", "1 when the model answers requests")
        self._load = self._gauge("modelservice_model_load_seconds", "Time to load and warm up the model")
        self._rejected = Counter(
            "modelservice_requests_rejected_total",
            "Inference requests that were not computed",
            ["model_name", "reason"],
            registry=self.registry,
        )
        self._requests = StatusCounter(
            "modelservice_requests", "Inference requests by HTTP status; 499 when the client went away", model_name
        )
        self.registry.register(self._requests)
        self._rows = Counter(
            "modelservice_inference_rows_total", "Rows computed", ["model_name"], registry=self.registry
        ).labels(model_name)
        self.duration = self._latency("modelservice_request_duration_seconds", "Request received to answer sent")
        self.queue = self._latency("modelservice_queue_duration_seconds", "Time a request waited for the model")
        self.preprocess = self._latency("request_preprocess_seconds", "Time to parse a request")
        self.predict = self._latency("request_predict_seconds", "Time the model took for a request's batch")
        self.postprocess = self._latency("request_postprocess_seconds", "Time to render an answer")
        self._batch_size = self._histogram("modelservice_batch_size", "Requests computed together", BATCH_BUCKETS)
        self.count(200, 0)
        self._ready.set(0)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, ["model_name"], registry=self.registry).labels(self._model_name)

    def _latency(self, name: str, text: str) -> Histogram:
        return self._histogram(name, text, LATENCY_BUCKETS)

    def _histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        histogram = Histogram(name, text, buckets, self._model_name)
        self.registry.register(histogram)
        return histogram

    def watch(self, waiting: Callable[[], int], running: Callable[[], int], utilization: Callable[[], float]) -> None:
        """Read the load from these functions whenever the metrics are asked for."""
        self._waiting.set_function(waiting)
        self._running.set_function(running)
        self._utilization.set_function(utilization)

    def count(self, code: int, requests: int = 1) -> None:
        """Count finished inference requests."""
        self._requests.add(code, requests)

    def count_rejected(self, reason: str) -> None:
        """Count an inference request that was turned away for `reason` (CamelCase)."""
        self._rejected.labels(self._model_name, reason).inc()

    def observe_batch(self, requests: int, rows: int) -> None:
        """Count a computed batch."""
        self._batch_size.observe(requests)
        self._rows.inc(rows)

    def set_loaded(self, info: ModelInfo, seconds: float) -> None:
        """Describe the model that was loaded in `seconds`."""
        self._load.set(seconds)
        labels = {
            "model_name": self._model_name,
            "model_version": info.version,
            "engine": info.engine,
            "torch": info.engine_version,
            "dtype": info.dtype,
            "sha256": info.digest.removeprefix("sha256:"),
        }
        Gauge("modelservice_build_info", "What serves here", list(labels), registry=self.registry).labels(**labels).set(
            1
        )

    def set_ready(self, *, ready: bool) -> None:
        """Say whether the model answers requests."""
        self._ready.set(int(ready))

    def render(self) -> bytes:
        """All series in the text format."""
        return generate_latest(self.registry)


class UtilizationMeter:
    """Share of the recent past in which a thread was busy, from its growing busy time."""

    def __init__(self, busy_seconds: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._busy_seconds = busy_seconds
        self._clock = clock
        self._samples: deque[tuple[float, float]] = deque([(clock(), busy_seconds())])

    def sample(self) -> None:
        """Remember the busy time now; call it about once a second."""
        now = self._clock()
        self._samples.append((now, self._busy_seconds()))
        while now - self._samples[1][0] >= _UTILIZATION_WINDOW_SECONDS:
            self._samples.popleft()

    def read(self) -> float:
        """Busy share since the oldest sample, 0 to 1."""
        since, busy = self._samples[0]
        elapsed = self._clock() - since
        return min(1.0, max(0.0, (self._busy_seconds() - busy) / elapsed)) if elapsed > 0 else 0.0
