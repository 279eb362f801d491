"""What the director process is told: plain frozen data."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, _BaseAddress
from typing import TYPE_CHECKING, Literal

from trimaran.health.settings import CheckSettings, PoolSettings, ScriptSettings

Scheduler = Literal[
    "rr", "wrr", "lc", "wlc", "sh", "dh", "mh", "sed", "nq", "fo", "ovf", "twos", "lblc", "lblcr"
]
DeadFlows = Literal["drop", "unpin", "reset"]

if TYPE_CHECKING:
    IPAddress = IPv4Address | IPv6Address
else:
    IPAddress = _BaseAddress  # the two's own base: msgspec reads no union of such types

Mode = Literal["enabled", "drained", "disabled"]


Forward = Literal["dr", "tunnel"]


@dataclass(frozen=True)
class TunnelSettings:
    """How packets are wrapped; `port` is GUE's."""

    kind: Literal["ipip", "gue", "gre"] = "ipip"
    port: int = 0
    checksum: bool = False


@dataclass(frozen=True)
class RealServerSettings:
    """`name` is the user's word for it (node name or address); all of its `checks` must pass.
    `mode` is what operators want of it (director/overlay.py); `tunnel` counts where `forward` is
    tunnel. `last_weight` is the last weight above 0 of one that drains (None: its weight)."""

    name: str
    address: IPAddress
    port: int
    weight: int
    checks: dict[str, CheckSettings] = field(default_factory=dict)
    inhibit: bool = False
    notify_up: ScriptSettings | None = None
    notify_down: ScriptSettings | None = None
    forward: Forward = "dr"
    tunnel: TunnelSettings = TunnelSettings()
    mode: Mode = "enabled"
    upper_threshold: int = 0
    lower_threshold: int = 0
    last_weight: int | None = None


@dataclass(frozen=True)
class ServiceSettings:
    """One VIP:port; a listen address that stands for several becomes one of these each. Port 0 is
    every port that no other service has."""

    name: str
    address: IPAddress
    port: int
    protocol: Literal["tcp", "udp"]
    scheduler: Scheduler
    real_servers: tuple[RealServerSettings, ...]
    pool: PoolSettings = field(default_factory=PoolSettings)
    sorry_server: RealServerSettings | None = None
    scheduler_flags: tuple[str, ...] = ()
    one_packet: bool = False
    persistence_s: int = 0
    granularity: int = 0
    dead_flows: DeadFlows = "drop"


@dataclass(frozen=True)
class FlowSyncSettings:
    """How this director exchanges its flows with its peers (names and addresses). `hold_s`: how
    long a start waits for their tables at most."""

    key: bytes
    address: IPv4Address
    port: int
    peers: tuple[tuple[str, IPv4Address], ...]
    interval_s: float
    hold_s: float


@dataclass(frozen=True)
class DirectorSettings:
    """Everything the director process of one node runs. `pin_directory` is on bpffs;
    `state_file` remembers what was made in the kernel's IPVS."""

    node: str
    interface: str
    pin_directory: str
    services: tuple[ServiceSettings, ...]
    max_flows: int = 1 << 20
    max_flows6: int = 1 << 20
    max_clients: int = 1 << 16
    flow_sync: FlowSyncSettings | None = None
    hook: Literal["auto", "tc", "xdp", "ipvs"] = "auto"
    state_file: str = ""
