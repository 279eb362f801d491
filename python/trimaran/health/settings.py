"""What a check is told: plain frozen data."""

from dataclasses import dataclass
from ipaddress import IPv4Address


@dataclass(frozen=True)
class CheckSettings:
    """A TCP check and its timing, in seconds; see stack.model.Check."""

    address: IPv4Address
    port: int
    interval_s: float
    timeout_s: float
    retries: int
    retry_delay_s: float
    rise: int
