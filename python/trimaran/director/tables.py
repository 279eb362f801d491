"""What the data plane's tables hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from trimaran.director.schedulers import Table
from trimaran.director.settings import DeadFlows, IPAddress, Scheduler, TunnelSettings

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
    not known, or it is this machine (`local`). With a `tunnel` the hop's MTU is that inside it.
    New flows come by `weight`, while there are not `upper` of them already (until fewer than
    `lower` are left)."""

    address: IPAddress
    port: int
    service: int
    listed: bool
    hop: Hop | None
    local: bool = False
    tunnel: Tunnel | None = None
    weight: int = 1
    upper: int = 0
    lower: int = 0

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
    """A service: its index, whether its flows are told to the peers, and what is done with its
    table. `granularity` is how many bits of its address make a client."""

    index: int
    synced: bool = False
    scheduler: Scheduler = "rr"
    hashes_port: bool = False
    falls_back: bool = False
    one_packet: bool = False
    dead_flows: DeadFlows = "drop"
    persistence_s: int = 0
    granularity: int = 0


@dataclass(frozen=True)
class Tables:
    """Everything the program reads. `services` maps a place to what serves it, `reals` and
    `slots` are by index."""

    services: Mapping[Listen, Served] = field(default_factory=dict)
    reals: Mapping[int, Real] = field(default_factory=dict)
    slots: Mapping[int, Table] = field(default_factory=dict)
