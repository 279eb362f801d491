"""What the vrrp process is told: plain frozen data, no pydantic (see docs/decisions/0001)."""

from dataclasses import dataclass, field
from typing import Literal

from trimaran.vrrp.address import Address, Interface
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
class RouterSettings:
    """One virtual router as one node sees it. Times in seconds; `password` is PASS's or (`ah`)
    AH's, at most 8 bytes, None for neither; `source` None: the interface's first address.
    `addresses` are of one family and advertised, `unadvertised` of any. No `peers`: adverts are
    multicast."""

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

    @property
    def ipv6(self) -> bool:
        """The family of its adverts."""
        return self.addresses[0].version == 6

    @property
    def lane(self) -> Lane:
        """What its adverts travel in."""
        if self.ipv6:
            return "ipv6"
        return "ah" if self.ah else "ipv4"

    @property
    def carried(self) -> tuple[Interface, ...]:
        """Every address that the master carries."""
        return self.addresses + self.unadvertised

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
    """

    name: str
    kind: Literal["script", "process", "file"]
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


@dataclass(frozen=True)
class VrrpSettings:
    """Everything the vrrp process of one node runs."""

    node: str
    routers: tuple[RouterSettings, ...]
    groups: tuple[GroupSettings, ...] = ()
    watches: tuple[WatchSettings, ...] = ()
