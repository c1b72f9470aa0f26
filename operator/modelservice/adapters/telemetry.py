"""The operator's own metrics, in the vocabulary of controller-runtime, for Prometheus."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from modelservice.domain import gauges
from modelservice.domain.money import MICROS

PREFIX = "modelservice_operator_"

QUICK = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name without prefix, what it says, and by what it is told apart."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    kind: Literal["counter", "gauge", "histogram"] = "gauge"
    buckets: tuple[float, ...] = QUICK


REQUESTS = (
    Metric("api_requests_total", "Requests to the Kubernetes API.", ("verb", "code"), "counter"),
    Metric("api_request_seconds", "How long the Kubernetes API took to answer.", ("verb",), "histogram"),
)

KIT = (
    Metric("workqueue_depth", "Keys that wait in the queue.", ("name",)),
    Metric("workqueue_adds_total", "Keys added to the queue.", ("name",), "counter"),
    Metric("workqueue_retries_total", "Keys that came back after a failure.", ("name",), "counter"),
    Metric("workqueue_queue_duration_seconds", "How long keys waited.", ("name",), "histogram"),
    Metric("workqueue_work_duration_seconds", "How long keys were in work.", ("name",), "histogram"),
    Metric("workqueue_unfinished_work_seconds", "How long the oldest key has been in work.", ("name",)),
    Metric("reconcile_total", "Reconciliations by their outcome.", ("controller", "result"), "counter"),
    Metric("reconcile_seconds", "How long a reconciliation took.", ("controller",), "histogram"),
    Metric("conflicts_total", "Reconciliations that met a newer version of an object.", ("controller",), "counter"),
    *REQUESTS,
    Metric("child_applies_total", "Children sent to the API server.", ("kind",), "counter"),
    Metric("status_writes_total", "Statuses written.", ("kind",), "counter"),
    Metric("events_dropped_total", "Events for people that were not written.", (), "counter"),
    Metric("watch_last_event_seconds", "Seconds since the last event of a watch.", ("kind",)),
    Metric("resync_missed_total", "Changes that a watch had not shown.", ("kind",), "counter"),
    Metric("resync_ghosts_total", "Deletions that a watch had not shown.", ("kind",), "counter"),
    Metric("cache_synced", "1 once all caches are filled."),
    Metric("leader", "1 while this replica leads."),
    Metric("event_loop_lag_seconds", "How late the event loop woke when it was last measured."),
)


class Telemetry:
    """Holds metrics and implements kit.meter.Meter; an undeclared name raises KeyError."""

    def __init__(self, *more: Metric, kit: Iterable[Metric] = KIT, prefix: str = PREFIX) -> None:
        self._prefix = prefix
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for metric in (*kit, *more):
            self.declare(metric)

    def declare(self, metric: Metric) -> None:
        """Add a metric."""
        name = self._prefix + metric.name
        match metric.kind:
            case "counter":
                self._counters[metric.name] = Counter(name, metric.help, metric.labels, registry=self.registry)
            case "gauge":
                self._gauges[metric.name] = Gauge(name, metric.help, metric.labels, registry=self.registry)
            case "histogram":
                self._histograms[metric.name] = Histogram(
                    name, metric.help, metric.labels, registry=self.registry, buckets=metric.buckets
                )

    def expose(self, families: Sequence[gauges.Gauge], read: Callable[[], Iterable[gauges.Reading]]) -> None:
        """Show these gauges as `read` gives them at each scrape: a series lives no longer than its reading."""
        self.registry.register(_Exposed(families, read))

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None:
        """Add to a counter."""
        counter = self._counters[name]
        (counter.labels(**labels) if labels else counter).inc(amount)

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """Add one observation to a histogram."""
        histogram = self._histograms[name]
        (histogram.labels(**labels) if labels else histogram).observe(value)

    def set(self, name: str, value: float, /, **labels: str) -> None:
        """Set a gauge."""
        gauge = self._gauges[name]
        (gauge.labels(**labels) if labels else gauge).set(value)

    def remove(self, name: str, /, **labels: str) -> None:
        """Drop the series of an object that is gone."""
        gauge = self._gauges[name]
        gauge.remove_by_labels(labels)

    def forget(self, **labels: str) -> None:
        """Drop every series that has all these labels: what they name is gone."""
        for metric in (*self._counters.values(), *self._gauges.values(), *self._histograms.values()):
            if labels.keys() <= set(metric._labelnames):  # noqa: SLF001 - it has no other way to ask
                metric.remove_by_labels(labels)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


@dataclass(frozen=True, slots=True)
class _Exposed(Collector):
    """Gauges that nobody sets; here, and only here, money becomes a float."""

    families: Sequence[gauges.Gauge]
    read: Callable[[], Iterable[gauges.Reading]]

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """The families without a series."""
        return self._empty().values()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The families with what is read now."""
        made = self._empty()
        for reading in self.read():
            value = reading.value / MICROS if reading.gauge.money else reading.value
            made[reading.gauge.name].add_metric(reading.labels, value)
        return made.values()

    def _empty(self) -> dict[str, GaugeMetricFamily]:
        return {
            family.name: GaugeMetricFamily(PREFIX + family.name, family.help, labels=family.labels)
            for family in self.families
        }


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        line: Mapping[str, object] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **({"traceback": self.formatException(record.exc_info)} if record.exc_info else {}),
        }
        return json.dumps(line, ensure_ascii=False)


def configure_logging(level: str, style: Literal["Text", "Json"]) -> None:
    """Send log lines of that level and above to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if style == "Json" else text)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("kopf", "aiohttp.access", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLevelName(level)))
