"""Where the gateway listens, which holds requests for services without a replica."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gateways:
    """The gateway pods that take requests: their addresses of one `family` (IPv4 or IPv6), and their port."""

    addresses: tuple[str, ...]
    port: int
    family: str = "IPv4"
