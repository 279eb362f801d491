"""What a check is told: plain frozen data."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, _BaseAddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    IPAddress = IPv4Address | IPv6Address
else:
    IPAddress = _BaseAddress  # the two's own base: msgspec reads no union of such types


@dataclass(frozen=True)
class CheckSettings:
    """A TCP check and its timing, in seconds; see stack.model.Check."""

    address: IPAddress
    port: int
    interval_s: float
    timeout_s: float
    retries: int
    retry_delay_s: float
    rise: int
