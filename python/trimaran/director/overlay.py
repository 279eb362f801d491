"""What was changed while the node runs, laid over the configured services. Pure.

An overlay is kept apart from the configuration: it says only what differs. A place in it that the
configuration does not have (any more) has no effect, until it has it again.

| the configuration has the service | the overlay says | then there is |
|---|---|---|
| yes | nothing | the configured one |
| either | a service | that one; with the configured real servers unless it is `emptied` |
| yes | removed | none |

The same for a real server of a service that is there. A drained one has weight 0: its flows go on
and no new one comes. A disabled one is out of the table.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from trimaran.director.settings import Mode, RealServerSettings, ServiceSettings

MOST_CHANGES = 16_384  # of either kind; a bound on what callers can make us keep


class OverlayError(ValueError):
    """What was asked for cannot be; says why."""


@dataclass(frozen=True, order=True)
class ServicePlace:
    """What identifies a service."""

    protocol: str
    address: str
    port: int


@dataclass(frozen=True, order=True)
class ServerPlace:
    """What identifies a real server of a service."""

    service: ServicePlace
    address: str
    port: int


@dataclass(frozen=True)
class ServiceChange:
    """`settings` None: it is removed. Its real servers are those of the configuration and of the
    overlay, never those of `settings`; `emptied`: not those of the configuration."""

    place: ServicePlace
    cause: str
    settings: ServiceSettings | None = None
    emptied: bool = False


@dataclass(frozen=True)
class ServerChange:
    """`added`: its settings, where the configuration has none. `weight` None: as configured."""

    place: ServerPlace
    cause: str
    mode: Mode = "enabled"
    weight: int | None = None
    removed: bool = False
    added: RealServerSettings | None = None

    @property
    def is_nothing(self) -> bool:
        """It changes nothing."""
        as_configured = self.mode == "enabled" and self.weight is None
        return as_configured and not self.removed and self.added is None


@dataclass(frozen=True)
class Overlay:
    """All changes; one for a place at most."""

    services: tuple[ServiceChange, ...] = field(default=())
    servers: tuple[ServerChange, ...] = field(default=())

    def service(self, place: ServicePlace) -> ServiceChange | None:
        """What it says of a service."""
        return next((each for each in self.services if each.place == place), None)

    def server(self, place: ServerPlace) -> ServerChange | None:
        """What it says of a real server."""
        return next((each for each in self.servers if each.place == place), None)

    def with_service(self, change: ServiceChange) -> "Overlay":
        """This one, saying so of the service. Raises OverlayError when it is too much."""
        others = tuple(each for each in self.services if each.place != change.place)
        servers = self.servers
        if change.settings is None or change.emptied:
            servers = tuple(each for each in servers if each.place.service != change.place)
        return _bounded(Overlay((*others, change), servers))

    def with_servers(self, changes: Iterable[ServerChange]) -> "Overlay":
        """This one, saying so of the real servers. Raises OverlayError when it is too much."""
        new = {each.place: each for each in changes}
        others = (each for each in self.servers if each.place not in new)
        said = (each for each in new.values() if not each.is_nothing)
        return _bounded(Overlay(self.services, (*others, *said)))

    def over(self, configured: Iterable[ServiceSettings]) -> tuple[ServiceSettings, ...]:
        """The services that this makes of the configured ones: theirs first, in their order."""
        there = {place_of(service): service for service in configured}
        said = {change.place: change for change in self.services}
        added = (place for place in said if place not in there)
        servers: dict[ServicePlace, list[ServerChange]] = {}
        for each in self.servers:
            servers.setdefault(each.place.service, []).append(each)
        return tuple(
            service
            for place in (*there, *added)
            if (service := _service(there.get(place), said.get(place), servers.get(place, ())))
        )


def place_of(service: ServiceSettings) -> ServicePlace:
    """What identifies it."""
    return ServicePlace(service.protocol, str(service.address), service.port)


def server_place(service: ServiceSettings, real: RealServerSettings) -> ServerPlace:
    """What identifies it."""
    return ServerPlace(place_of(service), str(real.address), real.port)


def _service(
    there: ServiceSettings | None, said: ServiceChange | None, servers: Iterable[ServerChange]
) -> ServiceSettings | None:
    service = there
    if said is not None:
        if said.settings is None:
            return None
        kept = there.real_servers if there and not said.emptied else ()
        service = replace(said.settings, real_servers=kept)
    if service is None:
        return None
    changes = {each.place: each for each in servers}
    if not changes:
        return service
    reals = [
        changed
        for real in service.real_servers
        if (changed := _server(real, changes.pop(server_place(service, real), None)))
    ]
    reals += [real for each in changes.values() if each.added and (real := _server(None, each))]
    return replace(service, real_servers=tuple(reals))


def _server(
    there: RealServerSettings | None, said: ServerChange | None
) -> RealServerSettings | None:
    if said is None:
        return there
    real = said.added or there
    if said.removed or real is None:
        return None
    weight = real.weight if said.weight is None else said.weight
    return replace(real, mode=said.mode, weight=weight)


def _bounded(overlay: Overlay) -> Overlay:
    if max(len(overlay.services), len(overlay.servers)) > MOST_CHANGES:
        raise OverlayError(
            f"at most {MOST_CHANGES} changes are kept at run time: put them into the configuration"
        )
    return overlay


# What operators ask for by name.


def named(
    services: Iterable[ServiceSettings], name: str, service: str | None
) -> list[tuple[ServiceSettings, RealServerSettings]]:
    """The real servers of that name or address (or address:port), of that service or of all."""
    return [
        (each, real)
        for each in services
        if service is None or service in names_of_service(each)
        for real in each.real_servers
        if name in names_of(real)
    ]


def names_of(real: RealServerSettings) -> tuple[str, ...]:
    """What people may call it."""
    return (real.name, str(real.address), _end(real))


def names_of_service(service: ServiceSettings) -> tuple[str, ...]:
    """What people may call it."""
    return (service.name, str(service.address), _end(service))


def _end(each: ServiceSettings | RealServerSettings) -> str:
    six = not isinstance(each.address, IPv4Address)
    return f"[{each.address}]:{each.port}" if six else f"{each.address}:{each.port}"


def changed(
    overlay: Overlay, place: ServerPlace, cause: str, mode: Mode | None, weight: int | None
) -> ServerChange:
    """What is said of a real server once its mode, or its weight, is another. Weight -1: again the
    configured one."""
    before = overlay.server(place) or ServerChange(place, cause)
    after = replace(before, cause=cause)
    if mode is not None:
        after = replace(after, mode=mode)
    if weight is not None:
        after = replace(after, weight=None if weight < 0 else weight)
    return after
