"""What the vrrp process is told: plain frozen data, no pydantic (see docs/decisions/0001)."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from trimaran.vrrp.address import Address, Interface
from trimaran.vrrp.bfd import BfdSettings
from trimaran.vrrp.packet import Checksum, Dialect, Peer
from trimaran.vrrp.seal import HmacSettings

Lane = Literal["ipv4", "ipv6", "ah"]  # the kinds of datagrams that adverts travel in


@dataclass(frozen=True)
class Track:
    """Something that a virtual router watches. Weight 0: its failure is a fault; else it is added
    to the priority while well (positive) or failing (negative). `reverse` takes well for failing.
    `name` is an interface, the name of a watch (VrrpSettings), or that of a virtual service, which
    is well while it has its quorum."""

    kind: Literal["interface", "watch", "service"]
    name: str
    weight: int = 0
    reverse: bool = False

    @property
    def key(self) -> str:
        """How causes speak of it."""
        return self.name if self.kind == "watch" else f"{self.kind} {self.name}"


@dataclass(frozen=True)
class VmacSettings:
    """A virtual MAC: a macvlan on the router's interface, `name`, which carries the addresses.
    Adverts are sent and received by it, or (`transmit_base`) by the interface itself. `mac`: 6
    bytes; None: the standard's (RFC 9568 §7.3)."""

    name: str
    mac: bytes | None = None
    transmit_base: bool = False


@dataclass(frozen=True)
class RouteSettings:
    """A route; what is None is left to the kernel. `kind` is unicast, blackhole, unreachable or
    prohibit; `destination` None: the default route of `family` (4 or 6)."""

    family: int
    kind: str = "unicast"
    destination: Interface | None = None
    gateway: Address | None = None
    device: str | None = None
    source: Address | None = None
    table: int = 254
    metric: int | None = None
    scope: int | None = None
    mtu: int | None = None
    onlink: bool = False
    text: str = ""  # as it was written, for people


@dataclass(frozen=True)
class RuleSettings:
    """A routing rule; `action` is lookup (in `table`), blackhole, unreachable or prohibit."""

    family: int
    action: str = "lookup"
    table: int = 254
    source: Interface | None = None
    destination: Interface | None = None
    preference: int | None = None
    mark: int | None = None
    incoming: str | None = None
    outgoing: str | None = None
    text: str = ""


@dataclass(frozen=True)
class Belongings:
    """What comes besides addresses: routes and rules, which are taken back with them."""

    routes: tuple[RouteSettings, ...] = ()
    rules: tuple[RuleSettings, ...] = ()


@dataclass(frozen=True)
class RouterSettings:
    """One virtual router as one node sees it. Times in seconds; `password` is PASS's or (`ah`)
    AH's, at most 8 bytes, None for neither; `source` None: the interface's first address.
    `addresses` are of one family and advertised, `unadvertised` of any; `devices` are other
    interfaces than its own that carry some of them. No `peers`: adverts are multicast. Without
    `accept` packets to the addresses are dropped (but for an owner). Routers of one `garp_group`
    share its pace."""

    name: str
    router_id: int
    interface: str
    priority: int
    addresses: tuple[Interface, ...]
    source: Address | None = None
    version: int = 2
    advert_interval_s: float = 1.0
    password: bytes | None = field(default=None, repr=False)
    preempt: bool = True
    preempt_delay_s: float = 0.0
    down_adverts: int = 3
    start_delay_s: float = 0.0
    answer_weaker: bool = True
    unadvertised: tuple[Interface, ...] = ()
    peers: tuple[Peer, ...] = ()
    check_source: bool = False
    unicast_ttl: int = 255
    checksum: Checksum = Checksum.PSEUDO_HEADER
    garp_repeat: int = 5
    garp_delay_s: float = 5.0
    garp_refresh_s: float = 0.0
    garp_refresh_repeat: int = 1
    garp_weaker_repeat: int = 5
    garp_weaker_delay_s: float = 5.0
    garp_interval_s: float = 0.0
    tracks: tuple[Track, ...] = ()
    track_own_interface: bool = True
    ah: bool = False
    hmac: HmacSettings | None = None
    accept: bool = True
    vmac: VmacSettings | None = None
    devices: tuple[tuple[Interface, str], ...] = ()
    belongings: Belongings = Belongings()
    garp_group: str | None = None
    promote_secondaries: bool = False

    @property
    def ipv6(self) -> bool:
        """The family of its adverts."""
        return self.addresses[0].version == 6

    @cached_property
    def lane(self) -> Lane:
        """What its adverts travel in."""
        if self.ipv6:
            return "ipv6"
        return "ah" if self.ah else "ipv4"

    @property
    def carried(self) -> tuple[Interface, ...]:
        """Every address that the master carries."""
        return self.addresses + self.unadvertised

    @cached_property
    def wire(self) -> str:
        """The interface that adverts go through."""
        vmac = self.vmac
        return self.interface if vmac is None or vmac.transmit_base else vmac.name

    @cached_property
    def carrying(self) -> dict[str, tuple[Interface, ...]]:
        """The addresses by the interface that carries them."""
        usual = self.interface if self.vmac is None else self.vmac.name
        elsewhere = dict(self.devices)
        found: dict[str, tuple[Interface, ...]] = {}
        for each in self.carried:
            device = elsewhere.get(each, usual)
            found[device] = (*found.get(device, ()), each)
        return found

    @property
    def interval_cs(self) -> int:
        """The advert interval as the wire has it."""
        return max(1, round(self.advert_interval_s * 100))

    def dialect(self) -> Dialect:
        """How its adverts are written and read."""
        known = self.check_source or (bool(self.peers) and self.hmac is not None)
        return Dialect(
            self.router_id, self.version, self.ipv6, self.interval_cs, self.password,
            self.peers, known, self.checksum, self.ah,
        )  # fmt: skip


@dataclass(frozen=True)
class GroupSettings:
    """Virtual routers that are master together or not at all."""

    name: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class WatchSettings:
    """A script that is run, a file that is read, or a process that is looked for, every
    `interval_s`. Failing after `fall` bad results in a row, well after `rise` good ones; a process
    that comes or goes counts after `up_delay_s` or `down_delay_s`. `init_fail`: failing at first.

    script: `command`, bad when it does not exit with 0 within `timeout_s`
    process: `command` is its name and arguments, bad when fewer than `quorum` or more than
        `quorum_max` run; `match` says how the arguments are compared (stack.model.Watch)
    file: `command` is the path; its number × weight counts, weight 0: bad unless 0 or absent
    bfd: `bfd` alone counts; bad while the session is not up
    """

    name: str
    kind: Literal["script", "process", "file", "bfd"]
    command: tuple[str, ...]
    interval_s: float = 1.0
    timeout_s: float = 1.0
    rise: int = 1
    fall: int = 1
    quorum: int = 1
    quorum_max: int | None = None
    match: Literal["exact", "partial", "initial"] = "partial"
    init_fail: bool = False
    up_delay_s: float = 0.0
    down_delay_s: float = 0.0
    user: str | None = None
    bfd: BfdSettings | None = None


@dataclass(frozen=True)
class LinkDelay:
    """How long an interface must be down, or up, before it counts."""

    interface: str
    down_s: float = 0.0
    up_s: float = 0.0


@dataclass(frozen=True)
class VrrpSettings:
    """Everything the vrrp process of one node runs. `static` addresses (by interface), routes and
    rules are there for as long as it runs."""

    node: str
    routers: tuple[RouterSettings, ...]
    groups: tuple[GroupSettings, ...] = ()
    watches: tuple[WatchSettings, ...] = ()
    delays: tuple[LinkDelay, ...] = ()
    static: tuple[tuple[str, Interface], ...] = ()
    static_belongings: Belongings = Belongings()
    record: str | None = None  # the directory in which every input is written down
