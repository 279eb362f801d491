"""What the data plane's tables hold, and how a scheduler becomes a table of turns.

Every static scheduler is a table: the program takes its slots one after the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import gcd
from typing import Literal, NamedTuple

from trimaran.director.settings import IPAddress, TunnelSettings

Scheduler = Literal["rr", "wrr", "fo"]
MAX_SLOTS = 65536
MAX_REALS = 16384
MAX_SERVICES = 16384
PROTOCOLS = {"tcp": 6, "udp": 17}  # IANA's numbers


@dataclass(frozen=True)
class Hop:
    """How a real server is reached: MACs of 6 bytes, an interface's index and its MTU."""

    destination: bytes
    source: bytes
    interface: int
    mtu: int = 1500


@dataclass(frozen=True)
class Way:
    """The route to a real server that need not be on the director's own LAN: the next hop, and the
    address that packets of ours have there."""

    hop: Hop
    source: IPAddress


@dataclass(frozen=True)
class Tunnel:
    """The wrapping, and the address that it is from."""

    kind: str
    port: int
    checksum: bool
    source: IPAddress


# What stands before the inner packet, in bytes, but for the outer IP header.
_SHIMS = {"ipip": 0, "gue": 12, "gre": 4}


def overhead(tunnel: TunnelSettings, version: int) -> int:
    """How much longer a tunnel to a real server of that IP version makes a packet, in bytes."""
    checksum = 4 if tunnel.kind == "gre" and tunnel.checksum else 0
    return (20 if version == 4 else 40) + _SHIMS[tunnel.kind] + checksum


@dataclass(frozen=True)
class Real:
    """One real server of one service. `listed`: its flows are forwarded; `hop` None: its MAC is
    not known, or it is this machine (`local`). With a `tunnel` the hop's MTU is that inside it."""

    address: IPAddress
    port: int
    service: int
    listed: bool
    hop: Hop | None
    local: bool = False
    tunnel: Tunnel | None = None

    @property
    def reachable(self) -> bool:
        """There is a way to it."""
        return self.local or self.hop is not None


class Listen(NamedTuple):
    """Where a service is: port 0 is every other port; protocol 0 marks an address that carries any
    service."""

    address: IPAddress
    port: int
    protocol: int

    @property
    def is_mark(self) -> bool:
        """It says that the address is served, no more."""
        return self.protocol == 0


@dataclass(frozen=True)
class Served:
    """A service's index, and whether its flows are told to the peers."""

    index: int
    synced: bool = False


@dataclass(frozen=True)
class Tables:
    """Everything the program reads. `services` maps a place to what serves it, `reals` and
    `slots` are by index; slots hold indices of reals."""

    services: Mapping[Listen, Served] = field(default_factory=dict)
    reals: Mapping[int, Real] = field(default_factory=dict)
    slots: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


def turns(scheduler: Scheduler, weighted: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """The cycle of a scheduler over (real, weight), given in the order of the configuration.

    As in IPVS the one added last comes first, weight 0 gets no new flow, rr heeds no other weight,
    and fo gives all to the greatest. A cycle that would need more than MAX_SLOTS slots is scaled
    down to fit.
    """
    newest_first = [(real, weight) for real, weight in reversed(weighted) if weight > 0]
    if scheduler == "rr":
        return tuple(real for real, _ in newest_first)
    if scheduler == "fo":  # max() keeps the first of equals, as ip_vs_fo does
        best = max(newest_first, key=lambda each: each[1], default=None)
        return (best[0],) if best else ()
    return _interleaved(_scaled(newest_first))


def _interleaved(weighted: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """ip_vs_wrr: a threshold falls from the greatest weight by the weights' divisor; at each step
    everyone who reaches it takes a turn."""
    if not weighted:
        return ()
    step = gcd(*(weight for _, weight in weighted))
    greatest = max(weight for _, weight in weighted)
    return tuple(
        real
        for threshold in range(greatest, 0, -step)
        for real, weight in weighted
        if weight >= threshold
    )


def _scaled(weighted: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    if not weighted:
        return []
    step = gcd(*(weight for _, weight in weighted))
    total = sum(weight for _, weight in weighted) // step
    if total <= MAX_SLOTS:
        return list(weighted)
    room = MAX_SLOTS - len(weighted)  # each may be rounded up to 1
    return [(real, max(1, weight // step * room // total)) for real, weight in weighted]
