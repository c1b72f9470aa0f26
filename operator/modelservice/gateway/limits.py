"""What a client may take up."""

from __future__ import annotations

from dataclasses import dataclass

from modelservice.gateway.refusals import Refused

HEAD_LINE_BYTES = 8190
HEADERS = 100
"""The longest request line and header, and the most headers, of requests and of answers."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on clients and on replicas; durations are seconds.

    Attributes:
        connections: open connections of clients.
        body_bytes: the largest body of a request.
        kept_bytes: how much of a body is read before a replica is asked; such a request can be asked for again.
        kept_total_bytes: the same for all requests together.
        idle: how long a connection may lie without a request.
        head: how long the head of a request may take.
        body: how long `kept_bytes` of a body may take to come, and a part of an answer to be taken.
        connect: how long a connection to a replica may take.
        silence: how long a replica may send nothing.
        hold: how long a request waits for a replica where its service does not say.
        held: requests that may wait for one service.
    """

    connections: int = 4096
    body_bytes: int = 64 * 2**20
    kept_bytes: int = 2**20
    kept_total_bytes: int = 256 * 2**20
    idle: float = 75.0
    head: float = 10.0
    body: float = 60.0
    connect: float = 3.0
    silence: float = 600.0
    hold: float = 600.0
    held: int = 1000


@dataclass(slots=True)
class Memory:
    """Bytes of bodies that are kept."""

    limit: int
    taken: int = 0

    def take(self, size: int) -> None:
        """Account for more bytes; raises Refused when there are too many."""
        if self.taken + size > self.limit:
            raise Refused(
                503, f"The gateway keeps {self.taken} bytes of requests already.", retry_after=1, why="MemoryFull"
            )
        self.taken += size

    def give(self, size: int) -> None:
        """Give bytes back."""
        self.taken -= size
