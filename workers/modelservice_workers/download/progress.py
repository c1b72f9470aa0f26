"""How far a download is, as Prometheus metrics and as a line in the log."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

_WINDOW_SECONDS: Final = 10.0
_LOG_SECONDS: Final = 5.0
_UNKNOWN: Final = -1.0

_log = logging.getLogger(__name__)


class Progress:
    """Counts bytes from several threads; `clock` gives monotonic seconds."""

    def __init__(self, total_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry()
        self._total = total_bytes
        self._done = 0
        self._clock = clock
        self._points: deque[tuple[float, int]] = deque([(clock(), 0)])
        self._logged = clock()
        self._lock = threading.Lock()
        for name, text, read in (
            ("modelservice_download_total_bytes", "Bytes of the model that is fetched", lambda: self._total),
            ("modelservice_download_done_bytes", "Bytes that lie on the volume already", lambda: self._done),
            ("modelservice_download_speed_bytes_per_second", "Bytes a second in the last 10 seconds", self.speed),
            ("modelservice_download_remaining_seconds", "Time left; 0 when done, -1 when unknown", self.remaining),
        ):
            Gauge(name, text, registry=self.registry).set_function(read)

    def add(self, count: int, *, fetched: bool = True) -> None:
        """Count bytes; those that lay there from an earlier try are not `fetched` and make no speed."""
        with self._lock:
            self._done += count
            now = self._clock()
            if not fetched:
                self._points = deque((at, done + count) for at, done in self._points)
            self._points.append((now, self._done))
            while len(self._points) > 2 and now - self._points[1][0] > _WINDOW_SECONDS:  # noqa: PLR2004
                self._points.popleft()
            if now - self._logged < _LOG_SECONDS:
                return
            self._logged = now
        _log.info("%s", self.line())

    def speed(self) -> float:
        """Bytes a second in the last 10 seconds."""
        with self._lock:
            at, done = self._points[0]
            passed = self._clock() - at
            return (self._done - done) / passed if passed > 0 else 0.0

    def remaining(self) -> float:
        """Seconds left; 0 when done and -1 when nothing moves."""
        left = self._total - self._done
        speed = self.speed()
        return 0.0 if left <= 0 else left / speed if speed > 0 else _UNKNOWN

    def line(self) -> str:
        """One line for the log."""
        share = 100 * self._done // self._total if self._total else 100
        remaining = self.remaining()
        left = "time left unknown" if remaining < 0 else f"{remaining:.0f} s left"
        return f"{share} % of {self._total / 1e6:,.1f} MB, {self.speed() / 1e6:,.1f} MB/s, {left}"
