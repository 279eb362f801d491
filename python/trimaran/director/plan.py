"""Settings, health and MACs -> the tables that are wanted -> the steps from those that are there.

A real server keeps its index for as long as a flow may name it: one that left the settings stays,
with weight 0, until no flow is left on it.
"""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from types import MappingProxyType

from trimaran.director.schedulers import Member, Slots, Table, table_of
from trimaran.director.settings import IPAddress, RealServerSettings, ServiceSettings
from trimaran.director.tables import (
    MAX_REALS,
    MAX_SERVICES,
    PROTOCOLS,
    Hop,
    Listen,
    Real,
    Served,
    Tables,
    Tunnel,
    Way,
    overhead,
)

RealKey = tuple[Listen, IPAddress, int]


class LimitError(ValueError):
    """The settings need more than the tables can hold."""


@dataclass(frozen=True)
class SetReal:
    """Write a real server."""

    index: int
    real: Real


@dataclass(frozen=True)
class SetSlots:
    """Swap a service's table."""

    service: int
    slots: Table


@dataclass(frozen=True)
class SetService:
    """Serve an address and port."""

    listen: Listen
    served: Served


@dataclass(frozen=True)
class RemoveService:
    """Serve it no longer."""

    listen: Listen


@dataclass(frozen=True)
class FreeReal:
    """Give an index back."""

    index: int


Step = SetReal | SetSlots | SetService | RemoveService | FreeReal


def listen_of(service: ServiceSettings) -> Listen:
    """Where a service is."""
    return Listen(service.address, service.port, PROTOCOLS[service.protocol])


def key_of(service: ServiceSettings, real: RealServerSettings) -> RealKey:
    """What identifies a real server of a service across changes."""
    return (listen_of(service), real.address, real.port)


def indices(tables: Tables) -> dict[RealKey, int]:
    """Where each real server is."""
    listens = {s.index: listen for listen, s in tables.services.items() if not listen.is_mark}
    return {
        (listens[real.service], real.address, real.port): index
        for index, real in tables.reals.items()
        if real.service in listens
    }


def desired(
    services: tuple[ServiceSettings, ...],
    found: Tables,
    down: Set[RealKey],
    hops: Mapping[IPAddress, Hop],
    busy: Set[int] | None,
    own: Set[IPAddress] = frozenset(),
    synced: bool = False,
    ways: Mapping[IPAddress, Way] = MappingProxyType({}),
) -> Tables:
    """The tables that are wanted. `down`: the real servers that are not well; `busy`: the indices
    that flows name, as counted since `found` was put in place (None: not counted); `own`: this
    machine's addresses, where flows go up instead of out; `synced`: there are peers to be told of
    flows; `hops` and `ways`: to real servers on the LAN, and to those of tunnels.

    Raises LimitError.
    """
    wanted_services = _served(services, found, synced)
    # By the service's index, not its address: so a service that left and came back finds the real
    # servers that its flows still name.
    known = {(real.service, real.address, real.port): i for i, real in found.reals.items()}
    chosen = {index for slots in found.slots.values() for index in slots.reals}
    free = (i for i in range(MAX_REALS) if i not in found.reals)
    reals: dict[int, Real] = {}
    slots: dict[int, Table] = dict.fromkeys(found.slots, Slots())
    for service in services:
        listen = listen_of(service)
        index = wanted_services[listen].index
        members: list[Member] = []
        for real in service.real_servers:
            listed = (listen, real.address, real.port) not in down
            place = known.get((index, real.address, real.port))
            if place is None:
                place = _next(free, "real servers", MAX_REALS)
            local = real.address in own
            hop, tunnel = (None, None) if local else _way(real, hops, ways)
            reals[place] = Real(
                real.address,
                real.port,
                index,
                listed,
                hop,
                local,
                tunnel,
                real.weight,
                real.upper_threshold,
                real.lower_threshold,
            )
            if listed and reals[place].reachable:
                members.append(_member(place, real))
        slots[index] = table_of(service.scheduler, members)
    for place, gone in found.reals.items():
        # Its flows live on. Where no table names it no new one can come, and `busy` was counted
        # after that: then it may go.
        may_be_named = gone.weight or place in chosen or busy is None or place in busy
        if place not in reals and may_be_named:
            reals[place] = replace(gone, weight=0)
    return Tables(wanted_services, reals, slots)


def _member(place: int, real: RealServerSettings) -> Member:
    last = real.weight or real.last_weight or 0
    return Member(place, str(real.address), real.port, real.weight, last)


def _way(
    real: RealServerSettings, hops: Mapping[IPAddress, Hop], ways: Mapping[IPAddress, Way]
) -> tuple[Hop | None, Tunnel | None]:
    if real.forward == "dr":
        return hops.get(real.address), None
    way, kind = ways.get(real.address), real.tunnel
    if way is None:
        return None, None
    hop = replace(way.hop, mtu=way.hop.mtu - overhead(kind, real.address.version))
    return hop, Tunnel(kind.kind, kind.port, kind.checksum, way.source)


def _can_be_synced(listen: Listen) -> bool:
    """What flow sync speaks of."""
    return listen.address.version == 4 and listen.protocol == PROTOCOLS["tcp"]


def _served(
    services: tuple[ServiceSettings, ...], found: Tables, synced: bool
) -> dict[Listen, Served]:
    """An index for each service, the one it has if it is there; and the marks of its address."""
    taken = {served.index for listen, served in found.services.items() if not listen.is_mark}
    free = (index for index in range(MAX_SERVICES) if index not in taken)
    wanted: dict[Listen, Served] = {}
    for service in services:
        listen = listen_of(service)
        there = found.services.get(listen)
        index = there.index if there else _next(free, "services", MAX_SERVICES)
        wanted[listen] = _how(service, index, synced and _can_be_synced(listen))
    for listen in list(wanted):
        wanted[Listen(listen.address, 0, 0)] = Served(0)
    if len(wanted) > MAX_SERVICES:
        raise LimitError(f"at most {MAX_SERVICES} addresses and services fit, not {len(wanted)}")
    return wanted


def _how(service: ServiceSettings, index: int, synced: bool) -> Served:
    flags = {flag.partition("-")[2] for flag in service.scheduler_flags}
    return Served(
        index,
        synced,
        "rr" if service.scheduler == "wrr" else service.scheduler,  # one to the program
        hashes_port="port" in flags,
        falls_back="fallback" in flags,
        one_packet=service.one_packet,
        dead_flows=service.dead_flows,
        persistence_s=service.persistence_s,
        granularity=service.granularity,
    )


def _next(free: Iterator[int], what: str, limit: int) -> int:
    index = next(free, None)
    if index is None:
        raise LimitError(f"at most {limit} {what} fit")
    return index


def difference(found: Tables, wanted: Tables) -> list[Step]:
    """The steps from one to the other, in an order in which no packet meets a half-made state: a
    real server is able before a table names it, and no table names it before it is disabled."""
    able: list[Step] = []
    unable: list[Step] = []
    for index, real in wanted.reals.items():
        if found.reals.get(index) != real:
            (able if real.listed and real.reachable else unable).append(SetReal(index, real))
    return [
        *able,
        *(
            SetSlots(service, slots)
            for service, slots in wanted.slots.items()
            if found.slots.get(service) != slots
        ),
        *(
            SetService(listen, served)
            for listen, served in wanted.services.items()
            if found.services.get(listen) != served
        ),
        *(RemoveService(listen) for listen in found.services if listen not in wanted.services),
        *unable,
        *(FreeReal(index) for index in found.reals if index not in wanted.reals),
    ]
