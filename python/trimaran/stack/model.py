"""The whole system as one frozen value, whichever files it was read from.

A `Stack` describes every node. A classic file (keepalived.conf, nginx.conf) describes one; it
becomes a Stack whose only named node is the one it was written for, and whose other machines are
known by address.
"""

from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyAddress,
    IPvAnyInterface,
    model_validator,
)

from trimaran.stack.authentication import Authentication
from trimaran.stack.balancing import (
    DeadFlows,
    FlowTable,
    Persistence,
    Scheduler,
    SchedulerFlag,
)
from trimaran.stack.checks import Check, Script
from trimaran.stack.http import Http
from trimaran.stack.notify import Notification, Notify
from trimaran.stack.routes import parse_route, parse_rule
from trimaran.stack.units import Port, Seconds, Secret, Weight

NodeName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=63)]


class Model(BaseModel):
    """Frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Node(Model):
    """One machine. `address` is None where the file does not say it (a classic file): the
    interface's own first address is used then."""

    address: IPv4Address | None = None
    address6: IPv6Address | None = Field(
        default=None, description="where the real server of an IPv6 virtual service is"
    )
    interface: str = "eth0"


class GratuitousArp(Model):
    """When to tell the LAN who holds the addresses (keepalived's garp_* options); of IPv6
    addresses by unsolicited neighbour advertisements. `weaker_*`: after a weaker master was heard
    (None: as after a take-over). `interval` is the least time between two."""

    repeat: Annotated[int, Field(ge=1, le=100)] = 5
    delay: Seconds = 5.0
    refresh: Seconds = 0.0
    refresh_repeat: Annotated[int, Field(ge=1, le=100)] = 1
    weaker_repeat: Annotated[int, Field(ge=0, le=100)] | None = None
    weaker_delay: Seconds | None = None
    interval: Annotated[Seconds, Field(le=1)] = 0.0


class UnicastPeer(Model):
    """How far away a peer may be, in the TTL of what it sends."""

    min_ttl: Annotated[int, Field(ge=0, le=255)] = 0
    max_ttl: Annotated[int, Field(ge=0, le=255)] = 255


class Unicast(Model):
    """Adverts to each member instead of to the group. `peers` are the other members' addresses
    where they are not given; `check_source` drops what others send."""

    peers: dict[IPvAnyAddress, UnicastPeer] = {}
    ttl: Annotated[int, Field(ge=1, le=255)] = 255
    check_source: bool = False


class TrackedInterface(Model):
    """An interface that a virtual router needs. Weight 0: without it there is no mastership; else
    it is added to the priority while up (positive) or down (negative); `reverse`: the other way
    round."""

    weight: Annotated[int, Field(ge=-253, le=253)] = 0
    reverse: bool = False


class TrackedWatch(TrackedInterface):
    """The same of an entry of `watches`."""


class TrackedService(Model):
    """A virtual service that must have its quorum. Weight 0: without it there is no mastership;
    else it is added to the priority while there is a quorum (positive) or none (negative)."""

    weight: Annotated[int, Field(ge=-253, le=253)] = -253


class Tracking(Model):
    """What a virtual router's priority depends on. `own_interface`: its own, without weight.
    `own_services`: every virtual service on its addresses; the priority is 1 while one of them has
    no quorum, unless `services` gives it another weight."""

    own_interface: bool = True
    own_services: bool = True
    interfaces: dict[str, TrackedInterface] = {}
    watches: dict[str, TrackedWatch] = {}
    services: dict[str, TrackedService] = {}


class BfdNeighbour(Model):
    """A session of bidirectional forwarding detection (RFC 5880, 5881) with a neighbour on the
    wire, or (`max_hops`) so many routers away; `idle_tx` is how often it is asked while down."""

    neighbour: IPvAnyAddress
    source: IPvAnyAddress | None = None
    min_rx: Annotated[Seconds, Field(ge=0.001, le=10)] = 0.01
    min_tx: Annotated[Seconds, Field(ge=0.001, le=10)] = 0.01
    idle_tx: Annotated[Seconds, Field(ge=1, le=10)] = 1.0
    multiplier: Annotated[int, Field(ge=1, le=255)] = 5
    passive: bool = False
    ttl: Annotated[int, Field(ge=1, le=255)] = 255
    max_hops: Annotated[int, Field(ge=0, le=254)] = 0


class Watch(Model):
    """Something that virtual routers track: exactly one of `script`, `process` (both words of a
    command), `file` (that holds a number, added to the priority times its weight) and `bfd`.

    A script counts as failing until it was well (`init_fail`). Of a process at least `quorum` run,
    and at most `quorum_max`; its arguments are all those given (`exact`), the first of them
    (`partial`), or those, the last of which may be longer (`initial`). A process or file that
    comes or goes counts after `up_delay` or `down_delay`."""

    script: tuple[str, ...] | None = None
    process: tuple[str, ...] | None = None
    file: str | None = None
    bfd: BfdNeighbour | None = None
    interval: Annotated[Seconds, Field(ge=0.05, le=86400)] = 1.0
    timeout: Annotated[Seconds, Field(gt=0, le=86400)] | None = None
    rise: Annotated[int, Field(ge=1, le=1000)] = 1
    fall: Annotated[int, Field(ge=1, le=1000)] = 1
    init_fail: bool = False
    quorum: Annotated[int, Field(ge=0, le=65535)] = 1
    quorum_max: Annotated[int, Field(ge=0, le=65535)] | None = None
    match: Literal["exact", "partial", "initial"] = "partial"
    up_delay: Annotated[Seconds, Field(le=3600)] = 0.0
    down_delay: Annotated[Seconds, Field(le=3600)] = 0.0
    user: str | None = None


class Vmac(Model):
    """A virtual MAC: a macvlan `name` on the virtual router's interface that carries its addresses
    (None: vrrp.ID, or vrrp6.ID). `mac` None: the standard's. `transmit_base`: adverts leave by the
    interface itself."""

    name: Annotated[str, Field(pattern=r"^[^\s/:]{1,15}$")] | None = None
    mac: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$")] | None = None
    transmit_base: bool = False


def _route(text: str) -> str:
    parse_route(text.split())
    return text


def _rule(text: str) -> str:
    parse_rule(text.split())
    return text


RouteText = Annotated[str, AfterValidator(_route)]
RuleText = Annotated[str, AfterValidator(_rule)]


class Static(Model):
    """What is there for as long as the node's vrrp role runs: addresses by interface, routes and
    rules, as iproute2 writes them."""

    addresses: dict[str, tuple[IPvAnyInterface, ...]] = {}
    routes: tuple[RouteText, ...] = ()
    rules: tuple[RuleText, ...] = ()


class LinkDelays(Model):
    """How long an interface must be `down`, or `up`, before it counts."""

    down: Annotated[Seconds, Field(le=255)] = 0.0
    up: Annotated[Seconds, Field(le=255)] = 0.0


class GarpGroup(Model):
    """Interfaces whose announcements share one pace: the least time between two."""

    interval: Annotated[Seconds, Field(gt=0, le=1)]
    interfaces: Annotated[tuple[str, ...], Field(min_length=1)]


class VirtualRouter(Model):
    """An election for addresses (RFC 9568 §1.6); `members` maps node to priority. `version` None:
    3 for IPv6 addresses, else 2. `sources` are what members advertise from (else the node's
    address, and for IPv6 the link-local one), `interfaces` where (else the node's interface).
    `devices`: interfaces that carry some of the addresses instead; `routes` and `rules` (iproute2's
    words) come and go with them. Without `accept` a master drops what is sent to the addresses,
    unless it is their owner; a director needs it."""

    router_id: Annotated[int, Field(ge=1, le=255)]
    version: Literal[2, 3] | None = None
    addresses: Annotated[tuple[IPvAnyInterface, ...], Field(min_length=1, max_length=90)]
    unadvertised: tuple[IPvAnyInterface, ...] = ()
    advert_interval: Annotated[Seconds, Field(ge=0.01, le=255)] = 1.0
    down_adverts: Annotated[int, Field(ge=1, le=100)] = 3
    start_delay: Annotated[Seconds, Field(le=86400)] = 0.0
    authentication: Authentication | None = None
    preempt: bool = True
    preempt_delay: Annotated[Seconds, Field(le=1000)] = 0.0
    answer_weaker: bool = True
    unicast: Unicast | None = None
    checksum: Literal["pseudo_header", "message", "group"] = "pseudo_header"
    gratuitous_arp: GratuitousArp = GratuitousArp()
    track: Tracking = Tracking()
    notify: Notify = Notify()
    accept: bool = True
    vmac: Vmac | None = None
    devices: dict[IPvAnyInterface, str] = {}
    routes: tuple[RouteText, ...] = ()
    rules: tuple[RuleText, ...] = ()
    promote_secondaries: bool = False
    members: Annotated[dict[NodeName, Annotated[int, Field(ge=1, le=255)]], Field(min_length=1)]
    sources: dict[NodeName, IPvAnyAddress] = {}
    interfaces: dict[NodeName, str] = {}

    @property
    def ipv6(self) -> bool:
        """The family of its adverts."""
        return self.addresses[0].version == 6

    @property
    def spoken_version(self) -> int:
        """The version that is spoken."""
        return self.version or (3 if self.ipv6 else 2)


class SyncGroup(Model):
    """Virtual routers that are master together or not at all. What the group tracks, every member
    does; `weights`: a member's own trackers may have weights."""

    members: Annotated[tuple[str, ...], Field(min_length=1)]
    track: Tracking = Tracking()
    notify: Notify = Notify()
    weights: bool = True

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, data: Any) -> Any:
        return {"members": data} if isinstance(data, list | tuple) else data


class Tunnel(Model):
    """How packets to a real server are wrapped: `port` is where it takes GUE, `checksum` that of
    GUE or GRE."""

    type: Literal["ipip", "gue", "gre"] = "ipip"
    port: Port | None = None
    checksum: bool = False


Forward = Literal["dr", "tunnel", "nat"]


class RealServer(Model):
    """Where a virtual service's flows end. The port is the service's own: only NAT rewrites
    it. Its own `check` or `checks`, all of which must pass, replace the service's; so do its own
    `forward` and `tunnel`. With `upper_threshold` flows it gets no new one, until
    they are fewer than `lower_threshold` (0: three quarters)."""

    weight: Weight = 1
    upper_threshold: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    lower_threshold: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    forward: Forward | None = None
    tunnel: Tunnel | None = None
    check: Check | None = None
    checks: dict[str, Check] = {}
    inhibit_on_failure: bool | None = None
    notify_up: Script | None = None
    notify_down: Script | None = None


class VirtualService(Model):
    """VIP:port at L4. `listen` is 'ROUTER:port', 'ADDRESS:port' or '[IPV6]:port', port 0 being
    every port without a service of its own; the keys of `real_servers` are node names or
    addresses.

    The weights of the well ones must reach `quorum` + `hysteresis` to gain the quorum, and lose it
    below `quorum` - `hysteresis`; without it the `sorry_server` alone gets new flows. A real server
    that fails is taken out, or kept with weight 0 (`inhibit_on_failure`); one that comes back has
    its weight by and by (`slow_start`). `omega`: the down scripts run when the director stops;
    `ha_suspend`: nobody is checked while this node does not carry the service's address.

    `one_packet`: every datagram is a flow of its own (UDP). `dead_flows`: what becomes of a failed
    real server's flows: `drop` (they wait for its return), `unpin` (they go on to another), `reset`
    (TCP is answered with RST, UDP unpinned)."""

    listen: str
    protocol: Literal["tcp", "udp"] = "tcp"
    scheduler: Scheduler = "wrr"
    scheduler_flags: tuple[SchedulerFlag, ...] = ()
    one_packet: bool = False
    persistence: Persistence | None = None
    dead_flows: DeadFlows = "reset"
    forward: Forward = "dr"
    tunnel: Tunnel | None = None
    real_servers: dict[str, RealServer]
    check: Check | None = Check()
    checks: dict[str, Check] = {}
    inhibit_on_failure: bool = False
    quorum: Annotated[int, Field(ge=0, le=1_000_000_000)] = 1
    hysteresis: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    quorum_up: Script | None = None
    quorum_down: Script | None = None
    sorry_server: str | None = None
    sorry_server_inhibit: bool = False
    slow_start: Seconds = 0.0
    omega: bool = False
    ha_suspend: bool = False


class FlowSync(Model):
    """The directors tell each other of their flows, so that no connection is lost with one of them.
    `key` (or the file `key_file`) is their shared secret; `hold` is how long a director that starts
    waits for the others' tables at most before it may become master."""

    key: Secret | None = None
    key_file: str | None = None
    port: Port = 8849
    interval: Annotated[Seconds, Field(ge=0, le=0.1)] = 0.002
    hold: Annotated[Seconds, Field(le=30)] = 2.0


class Proxy(Model):
    """An L7 proxy on one or more nodes: either `listen` + `upstream` (peer: weight; a peer is a
    node name, an address, or either with ':port'), or `nginx`, the path of an nginx.conf. All of
    its `check` and `checks` must pass for a peer to get requests; one that is named by a host's
    name is not checked."""

    nodes: Annotated[tuple[NodeName, ...], Field(min_length=1)]
    listen: Port | None = None
    upstream: dict[str, Weight] | None = None
    nginx: str | None = None
    check: Check | None = None
    checks: dict[str, Check] = {}
    http: Http | None = Field(
        default=None, exclude=True, description="what `nginx` said; set by the reader"
    )


class Site(Model):
    """A directory of static files served over HTTP by one node."""

    node: NodeName
    listen: Port = 80
    root: str
    index: tuple[str, ...] = ("index.html",)


class Stack(Model):
    """The whole system."""

    nodes: Annotated[dict[NodeName, Node], Field(min_length=1)]
    virtual_routers: dict[str, VirtualRouter] = {}
    sync_groups: dict[str, SyncGroup] = {}
    watches: dict[str, Watch] = {}
    notify: Notification = Notification()
    static: dict[NodeName, Static] = {}
    link_delays: dict[str, LinkDelays] = {}
    garp_groups: dict[str, GarpGroup] = {}
    virtual_services: dict[str, VirtualService] = {}
    flow_sync: FlowSync | None = None
    datapath: Literal["auto", "tc", "xdp", "ipvs"] = Field(
        default="auto",
        description="where directors attach: XDP, tc, or (auto) XDP where the interface's driver "
        "has it, else tc; or the kernel's own IPVS in their stead (ipvs)",
    )
    flow_table: FlowTable = FlowTable()
    proxies: dict[str, Proxy] = {}
    sites: dict[str, Site] = {}
    real_server_addresses: dict[NodeName, tuple[IPv4Address, ...]] = Field(
        default={},
        description="virtual addresses that a node carries on lo as a DR real server, beyond those "
        "of the virtual services (what a real-server script says)",
    )
