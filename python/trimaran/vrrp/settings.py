"""What the vrrp process is told: plain frozen data, no pydantic (see docs/decisions/0001)."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface


@dataclass(frozen=True)
class RouterSettings:
    """One virtual router as one node sees it. Times in seconds; `password` is PASS's, at most 8
    bytes, None for no authentication; `source` None: the interface's first address."""

    name: str
    router_id: int
    interface: str
    priority: int
    addresses: tuple[IPv4Interface, ...]
    source: IPv4Address | None = None
    advert_interval_s: float = 1.0
    password: bytes | None = field(default=None, repr=False)
    preempt: bool = True
    preempt_delay_s: float = 0.0
    garp_repeat: int = 5
    garp_delay_s: float = 5.0
    garp_refresh_s: float = 0.0
    garp_refresh_repeat: int = 1


@dataclass(frozen=True)
class VrrpSettings:
    """Everything the vrrp process of one node runs."""

    node: str
    routers: tuple[RouterSettings, ...]
