"""Back-off of one key and a token bucket over all of them. Pure: time and chance are arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds to wait after the n-th failure in a row: first, doubling up to `ceiling`, each +/- `jitter` of itself."""

    first: float = 1.0
    ceiling: float = 300.0
    jitter: float = 0.1

    def delay(self, failures: int, random: Random) -> float:
        """Seconds to wait after `failures` failures in a row (from 1)."""
        exponent = min(failures - 1, 62)
        return jittered(min(self.first * 2**exponent, self.ceiling), self.jitter, random)


def jittered(seconds: float, jitter: float, random: Random) -> float:
    """The duration, changed by up to `jitter` of itself in either direction."""
    return seconds * random.uniform(1 - jitter, 1 + jitter)


@dataclass(slots=True)
class TokenBucket:
    """`rate` tokens a second, at most `burst` of them saved up."""

    rate: float
    burst: float
    _tokens: float = field(init=False)
    _at: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._tokens = self.burst

    def reserve(self, now: float) -> float:
        """Take a token, in debt if need be, and return the seconds until it is due."""
        self._refill(now)
        self._tokens -= 1
        return max(0.0, -self._tokens / self.rate)

    def allow(self, now: float) -> bool:
        """Take a token if there is one."""
        self._refill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _refill(self, now: float) -> None:
        if self._at is not None:
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
