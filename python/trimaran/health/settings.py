"""What the checks are told: plain frozen data. The kinds of probe and what they ask are those of
stack.checks, field for field (node/plan.py makes one of the other)."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, _BaseAddress
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    IPAddress = IPv4Address | IPv6Address
else:
    IPAddress = _BaseAddress  # the two's own base: msgspec reads no union of such types


class _Probe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    pass


class TcpProbe(_Probe, tag="tcp", frozen=True):
    """A TCP connection is accepted."""


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See stack.checks.Tls."""

    server_name: str | None = None
    verify: bool = False
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    min_days: int | None = None


class Regex(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See stack.checks.Regex."""

    pattern: str
    options: tuple[str, ...] = ()
    absent: bool = False
    min_offset: int = 0
    max_offset: int | None = None


class HttpProbe(_Probe, tag="http", frozen=True):
    """An HTTP answer has a status, a digest, a text, a value."""

    path: str = "/"
    method: str = "GET"
    version: str = "1.1"
    host: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: str | None = None
    tls: Tls | None = None
    status: tuple[tuple[int, int], ...] = ((200, 299),)
    digest: str | None = None
    regex: Regex | None = None
    json_value: tuple[tuple[str, str | int | float | bool | None], ...] = ()


class ScriptProbe(_Probe, tag="script", frozen=True):
    """A program exits with 0."""

    command: str
    user: str | None = None
    dynamic: bool = False


class PingProbe(_Probe, tag="ping", frozen=True):
    """An ICMP echo request is answered."""


class UdpProbe(_Probe, tag="udp", frozen=True):
    """No ICMP error follows a datagram, or a reply does."""

    payload: str | None = None
    require_reply: bool = False
    reply: str | None = None
    min_length: int = 0
    max_length: int = 255


class DnsProbe(_Probe, tag="dns", frozen=True):
    """A name server answers."""

    type: str = "SOA"
    name: str = "."


class SmtpProbe(_Probe, tag="smtp", frozen=True):
    """A mail server greets."""

    helo: str = "trimaran"


class FileProbe(_Probe, tag="file", frozen=True):
    """The number in a file is 0, or is a weight."""

    path: str
    weight: int | None = None


class GrpcProbe(_Probe, tag="grpc", frozen=True):
    """gRPC's health service says SERVING."""

    service: str = ""
    tls: Tls | None = None


Probe = (
    TcpProbe | HttpProbe | ScriptProbe | PingProbe | UdpProbe | DnsProbe | SmtpProbe | FileProbe
    | GrpcProbe
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """Where a probe connects, and from where."""

    address: IPAddress
    port: int
    source: IPv4Address | None = None
    source_port: int | None = None
    interface: str | None = None
    mark: int | None = None


@dataclass(frozen=True)
class CheckSettings:
    """One check and its timing, in seconds; see stack.checks.Check. Equal checks are one check."""

    target: Target
    interval_s: float
    timeout_s: float
    retries: int
    retry_delay_s: float
    rise: int
    probe: Probe = field(default_factory=TcpProbe)
    warmup_s: float | None = None
    alpha: bool = False
    log_all_failures: bool = False


@dataclass(frozen=True)
class ScriptSettings:
    """A program to run; `user` is 'name' or 'name:group'."""

    command: str
    user: str | None
    timeout_s: float


@dataclass(frozen=True)
class PoolSettings:
    """The rules for the real servers of one service together; see stack.model.VirtualService."""

    quorum: int = 1
    hysteresis: int = 0
    quorum_up: ScriptSettings | None = None
    quorum_down: ScriptSettings | None = None
    sorry_inhibit: bool = False
    slow_start_s: float = 0.0
    omega: bool = False
    ha_suspend: bool = False


def kind_of(check: CheckSettings) -> str:
    """'tcp', 'http', …"""
    return str(check.probe.__struct_config__.tag)
