"""Settings and health -> what the kernel's IPVS is to have -> the changes from what it has.

Whose something is, in a table that others may write to as well:

| in the kernel | the settings name it | made by us before | then |
|---|---|---|---|
| a service | yes | either | it is ours: made to fit, without losing its flows |
| a service | no | yes | removed, unless somebody put a destination into it |
| a service | no | no | not touched |
| a destination of a service of ours | yes | either | ours: made to fit |
| a destination | no | yes | removed |
| a destination | no | no | not touched |
"""

import json
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any

from trimaran.director.ipvs import (
    PLAIN_TUNNEL,
    Address,
    Checksum,
    Destination,
    Listen,
    Mark,
    Method,
    Service,
    ServiceFlag,
    ServiceKey,
    ServiceRow,
    Tunnel,
    TunnelKind,
)
from trimaran.director.ipvs_wire import Command, Message
from trimaran.director.ipvsadm_words import SCHEDULER_FLAGS
from trimaran.director.plan import RealKey, key_of
from trimaran.director.settings import RealServerSettings, ServiceSettings, TunnelSettings
from trimaran.director.tables import PROTOCOLS

METHODS = {"dr": Method.ROUTE, "tunnel": Method.TUNNEL, "nat": Method.MASQ}
KINDS = {"ipip": TunnelKind.IPIP, "gue": TunnelKind.GUE, "gre": TunnelKind.GRE}
DestinationKey = tuple[ServiceKey, Address, int]


@dataclass(frozen=True)
class Wanted:
    """A service, and its destinations in the order in which they are added."""

    service: Service
    destinations: tuple[Destination, ...]


@dataclass(frozen=True)
class Made:
    """What is ours in the kernel. Kept in a file, so that the next process knows it."""

    services: Set[ServiceKey] = field(default_factory=frozenset)
    destinations: Set[DestinationKey] = field(default_factory=frozenset)

    def __or__(self, other: "Made") -> "Made":
        return Made(self.services | other.services, self.destinations | other.destinations)


@dataclass(frozen=True)
class Changes:
    """What to do, and what is ours afterwards."""

    messages: tuple[Message, ...]
    made: Made


def service_key(service: ServiceSettings) -> ServiceKey:
    """What identifies it in the kernel."""
    return Listen(PROTOCOLS[service.protocol], service.address, service.port)


def desired(services: Iterable[ServiceSettings], down: Set[RealKey]) -> dict[ServiceKey, Wanted]:
    """What is wanted. `down`: the real servers that are not well; they are no destinations."""
    return {
        service_key(service): Wanted(
            kernel_service(service),
            tuple(
                destination(real)
                for real in service.real_servers
                if key_of(service, real) not in down
            ),
        )
        for service in services
    }


def kernel_service(service: ServiceSettings) -> Service:
    """A service as IPVS has it."""
    flags = ServiceFlag(0)
    if service.persistence_s:
        flags |= ServiceFlag.PERSISTENT
    if service.one_packet:
        flags |= ServiceFlag.ONE_PACKET
    for word in service.scheduler_flags:
        flags |= SCHEDULER_FLAGS[word][1]
    return Service(
        service_key(service), service.scheduler, flags, service.persistence_s, _netmask(service)
    )


def _netmask(service: ServiceSettings) -> int | None:
    """From a prefix length; 0 is the whole address."""
    prefix, whole = service.granularity, service.address.max_prefixlen
    if prefix in (0, whole):
        return None
    return (0xFFFFFFFF << (32 - prefix)) & 0xFFFFFFFF if whole == 32 else prefix


def destination(real: RealServerSettings) -> Destination:
    """A real server as IPVS has it."""
    method = METHODS[real.forward]
    tunnel = tunnel_of(real.tunnel) if method is Method.TUNNEL else PLAIN_TUNNEL
    return Destination(
        real.address,
        real.port,
        method,
        real.weight,
        real.upper_threshold,
        real.lower_threshold,
        tunnel,
    )


def tunnel_of(tunnel: TunnelSettings) -> Tunnel:
    """How it wraps."""
    checksum = Checksum.WHOLE if tunnel.checksum else Checksum.NONE
    return Tunnel(KINDS[tunnel.kind], tunnel.port, checksum)


def difference(
    found: Iterable[ServiceRow], wanted: Mapping[ServiceKey, Wanted], made: Made
) -> Changes:
    """The changes, in an order in which no service is without the destinations that it keeps: what
    comes before what goes."""
    rows = {row.service.key: row for row in found}
    coming: list[Message] = []
    going: list[Message] = []
    for key, want in wanted.items():
        row = rows.get(key)
        if row is None:
            coming.append(Message(Command.NEW_SERVICE, want.service))
        elif row.service != want.service:
            coming.append(Message(Command.SET_SERVICE, want.service))
        there = _destinations(row)
        for new in want.destinations:
            old = there.pop((new.address, new.port), None)
            if old is None or not _alike(old, new):
                command = Command.NEW_DEST if old is None else Command.SET_DEST
                coming.append(Message(command, Service(key), destination=new))
        going += _removals(key, there.values(), made)
    for key in made.services:
        if key in rows and key not in wanted:
            theirs = _destinations(rows[key])
            ours = _removals(key, theirs.values(), made)
            going += ours
            if len(ours) == len(theirs):
                going.append(Message(Command.DEL_SERVICE, Service(key)))
    return Changes((*coming, *going), made_of(wanted))


def made_of(wanted: Mapping[ServiceKey, Wanted]) -> Made:
    """What is ours when the kernel has what is wanted."""
    places = {(k, d.address, d.port) for k, want in wanted.items() for d in want.destinations}
    return Made(frozenset(wanted), frozenset(places))


def _destinations(row: ServiceRow | None) -> dict[tuple[Address, int], Destination]:
    rows = row.destinations if row else ()
    return {(r.destination.address, r.destination.port): r.destination for r in rows}


def _alike(old: Destination, new: Destination) -> bool:
    """Older kernels say LOCAL of a destination that is this machine."""
    if old.method is Method.LOCAL:
        old = replace(old, method=new.method)
    return old == new


def _removals(key: ServiceKey, there: Iterable[Destination], made: Made) -> list[Message]:
    return [
        Message(Command.DEL_DEST, Service(key), destination=old)
        for old in there
        if (key, old.address, old.port) in made.destinations
    ]


# --- the file


def to_json(made: Made) -> bytes:
    """For `from_json`."""
    services = sorted(_words(key) for key in made.services)
    destinations = sorted([_words(k), str(a), p] for k, a, p in made.destinations)
    return json.dumps({"services": services, "destinations": destinations}).encode()


def from_json(data: bytes) -> Made:
    """What was written; nothing if it is damaged: what we made is adopted then where it is wanted,
    and otherwise stays."""
    try:
        read = json.loads(data)
        return Made(
            frozenset(_key(words) for words in read["services"]),
            frozenset(
                (_key(words), ip_address(address), int(port))
                for words, address, port in read["destinations"]
            ),
        )
    except (ValueError, KeyError, TypeError):
        return Made()


def _words(key: ServiceKey) -> list[Any]:
    if isinstance(key, Mark):
        return ["mark", str(key.mark), key.version]
    return ["listen", str(key.address), key.port, key.protocol]


def _key(words: list[Any]) -> ServiceKey:
    kind, *rest = words
    if kind == "mark":
        mark, version = rest
        return Mark(int(mark), int(version))
    address, port, protocol = rest
    return Listen(int(protocol), ip_address(address), int(port))
