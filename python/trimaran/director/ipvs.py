"""The kernel's IPVS in its own words: what it is told, what it tells. Plain frozen data.

Names and numbers are those of linux/ip_vs.h.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address
TCP, UDP, SCTP = 6, 17, 132
WHOLE_V4 = 0xFFFFFFFF
WHOLE_V6 = 128


class ServiceFlag(IntFlag):
    """What can be asked of a service. The scheduler gives SCHED_1 and SCHED_2 their meaning: for
    sh and mh they are `fallback` and `port`."""

    PERSISTENT = 1
    ONE_PACKET = 4
    SCHED_1 = 8
    SCHED_2 = 16
    SCHED_3 = 32


class Method(IntEnum):
    """How packets reach a destination."""

    MASQ = 0
    LOCAL = 1
    TUNNEL = 2
    ROUTE = 3
    BYPASS = 4


class TunnelKind(IntEnum):
    """What a tunnel wraps packets in."""

    IPIP = 0
    GUE = 1
    GRE = 2


class Checksum(IntEnum):
    """How a tunnel's outer checksum is made."""

    NONE = 0
    WHOLE = 1
    REMOTE = 2


@dataclass(frozen=True)
class Listen:
    """A service by protocol (IP's number), address and port; port 0 is every port."""

    protocol: int
    address: Address
    port: int

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.address.version


@dataclass(frozen=True)
class Mark:
    """A service by netfilter's mark, of IPv4's packets or IPv6's (`version`)."""

    mark: int
    version: int = 4


ServiceKey = Listen | Mark


NO_FLAGS = ServiceFlag(0)


@dataclass(frozen=True)
class Service:
    """A virtual service as it is asked for. `timeout_s`: of persistence; `netmask`: of
    persistence, IPv4's mask as a number, IPv6's a prefix length, None the whole address;
    `engine`: of persistence, or empty."""

    key: ServiceKey
    scheduler: str = ""
    flags: ServiceFlag = NO_FLAGS
    timeout_s: int = 0
    netmask: int | None = None
    engine: str = ""


@dataclass(frozen=True)
class Tunnel:
    """How Method.TUNNEL wraps; `port` is GUE's."""

    kind: TunnelKind = TunnelKind.IPIP
    port: int = 0
    checksum: Checksum = Checksum.NONE


PLAIN_TUNNEL = Tunnel()


@dataclass(frozen=True)
class Destination:
    """A real server of a service, as it is asked for. No new connections above `upper` (0: no
    such bound) until they are below `lower`."""

    address: Address
    port: int
    method: Method = Method.ROUTE
    weight: int = 1
    upper: int = 0
    lower: int = 0
    tunnel: Tunnel = PLAIN_TUNNEL


@dataclass(frozen=True)
class Counters:
    """`in`: from clients. Rates are a second's, as the kernel estimates them."""

    connections: int = 0
    in_packets: int = 0
    out_packets: int = 0
    in_bytes: int = 0
    out_bytes: int = 0
    connections_s: int = 0
    in_packets_s: int = 0
    out_packets_s: int = 0
    in_bytes_s: int = 0
    out_bytes_s: int = 0


@dataclass(frozen=True)
class Load:
    """The connections that a destination has."""

    active: int = 0
    inactive: int = 0
    persistent: int = 0


NO_LOAD = Load()
NO_COUNTERS = Counters()


@dataclass(frozen=True)
class DestinationRow:
    """A destination as it is."""

    destination: Destination
    load: Load = NO_LOAD
    counters: Counters = NO_COUNTERS


@dataclass(frozen=True)
class ServiceRow:
    """A service as it is."""

    service: Service
    counters: Counters = NO_COUNTERS
    destinations: tuple[DestinationRow, ...] = ()


@dataclass(frozen=True)
class Connection:
    """A flow, or a template of persistence. `state` as IPVS names it; ends are (address, port)."""

    protocol: int
    client: tuple[Address, int]
    virtual: tuple[Address, int]
    destination: tuple[Address, int]
    state: str
    expires_s: int
    engine: str = ""
    engine_data: str = ""


@dataclass(frozen=True)
class Timeouts:
    """Of connections, in seconds; 0 leaves one as it is."""

    tcp_s: int
    tcp_fin_s: int
    udp_s: int


class SyncState(IntEnum):
    """What a synchronisation daemon does: tell, or listen."""

    MASTER = 1
    BACKUP = 2


@dataclass(frozen=True)
class Daemon:
    """A synchronisation daemon. 0 and None leave a choice to the kernel."""

    state: SyncState
    interface: str = ""
    sync_id: int = 0
    maximum_length: int = 0
    group: Address | None = None
    port: int = 0
    ttl: int = 0


@dataclass(frozen=True)
class Info:
    """`version` as in IP_VS_VERSION_CODE; `table_size`: buckets of the connection table."""

    version: int
    table_size: int


@dataclass(frozen=True)
class State:
    """Everything that is listed."""

    info: Info
    services: tuple[ServiceRow, ...] = ()
    timeouts: Timeouts = Timeouts(900, 120, 300)
    daemons: tuple[Daemon, ...] = ()
    connections: tuple[Connection, ...] = ()
