"""What ipvsadm asks for, as changes at run time: a message of IPVS's laid over the configured
services, with IPVS's own refusals. Pure.
"""

import errno
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, cast, get_args

from trimaran.director.ipvs import (
    Checksum,
    Destination,
    Listen,
    Method,
    Service,
    ServiceKey,
    TunnelKind,
)
from trimaran.director.ipvs_errors import meaning
from trimaran.director.ipvs_plan import METHODS, service_key
from trimaran.director.ipvs_wire import Command, Message
from trimaran.director.ipvsadm_text import end, name
from trimaran.director.overlay import (
    Overlay,
    OverlayError,
    ServerChange,
    ServerPlace,
    ServiceChange,
    place_of,
    server_place,
)
from trimaran.director.settings import (
    RealServerSettings,
    Scheduler,
    ServiceSettings,
    TunnelSettings,
)
from trimaran.director.tables import PROTOCOLS
from trimaran.health.pool import MAX_WEIGHT

NAMES = {number: word for word, number in PROTOCOLS.items()}
KIND_NAMES: dict[TunnelKind, Literal["ipip", "gue", "gre"]] = {
    TunnelKind.IPIP: "ipip",
    TunnelKind.GUE: "gue",
    TunnelKind.GRE: "gre",
}
Services = tuple[ServiceSettings, ...]
VERBS = {
    Command.NEW_SERVICE: "was added",
    Command.SET_SERVICE: "was changed",
    Command.DEL_SERVICE: "was removed",
    Command.NEW_DEST: "was added to",
    Command.SET_DEST: "was changed in",
    Command.DEL_DEST: "was removed from",
    Command.FLUSH: "every virtual service was removed",
    Command.ZERO: "counters were set to 0",
}


class RefusedError(OverlayError):
    """As IPVS would refuse it; the text is ipvsadm's, or says what this data plane lacks."""


def told(message: Message) -> str:
    """For the event: what was done."""
    if message.service is None:
        return VERBS[message.command]
    service = " ".join((*name(message.service).split(), message.service.scheduler)).strip()
    if message.command is Command.ZERO:
        return f"{service}: {VERBS[message.command]}"
    if message.destination is None:
        return f"{service} {VERBS[message.command]}"
    there = message.destination
    return f"{end(there.address, there.port)} {VERBS[message.command]} {service}"


def named(message: Message, services: Services) -> Services:
    """The service that a message names, or all. Raises RefusedError."""
    if message.service is None:
        return services
    found = _find(services, message.service.key)
    if found is None:
        raise _refused(message.command, errno.ESRCH)
    return (found,)


def changed(message: Message, overlay: Overlay, configured: Services, cause: str) -> Overlay:
    """The overlay that has it. Raises RefusedError."""
    now = overlay.over(configured)
    if message.command is Command.FLUSH:
        for service in now:
            overlay = _without_service(overlay, configured, service, cause)
        return overlay
    if message.service is None or message.command not in VERBS or message.command is Command.ZERO:
        raise RefusedError("this director cannot do that while it runs")
    there = _find(now, message.service.key)
    match message.command:
        case Command.NEW_SERVICE | Command.SET_SERVICE:
            return _with_service(message.command, message.service, there, overlay, cause)
        case Command.DEL_SERVICE:
            if there is None:
                raise _refused(Command.DEL_SERVICE, errno.ESRCH)
            return _without_service(overlay, configured, there, cause)
    if there is None:
        raise _refused(message.command, errno.ESRCH)
    assert message.destination is not None
    return _with_server(message.command, message.destination, there, overlay, configured, cause)


def _find(services: Iterable[ServiceSettings], key: ServiceKey) -> ServiceSettings | None:
    return next((each for each in services if service_key(each) == key), None)


def _refused(command: Command, number: int) -> RefusedError:
    return RefusedError(meaning(command, number) or errno.errorcode[number])


# --- services


def _with_service(
    command: Command,
    wanted: Service,
    there: ServiceSettings | None,
    overlay: Overlay,
    cause: str,
) -> Overlay:
    if command is Command.NEW_SERVICE and there is not None:
        raise _refused(command, errno.EEXIST)
    if command is Command.SET_SERVICE and there is None:
        raise _refused(command, errno.ESRCH)
    if wanted.scheduler not in get_args(Scheduler):
        raise _refused(command, errno.ENOENT)
    key = wanted.key
    if not isinstance(key, Listen) or key.protocol not in NAMES:
        raise RefusedError("this director serves TCP and UDP by address and port")
    if wanted.flags or wanted.engine:
        raise RefusedError("this director knows no persistence, --ops or scheduler flags")
    scheduler = cast(Scheduler, wanted.scheduler)
    if there is None:
        protocol = cast(Literal["tcp", "udp"], NAMES[key.protocol])
        place = end(key.address, key.port)
        settings = ServiceSettings(place, key.address, key.port, protocol, scheduler, ())
        return overlay.with_service(ServiceChange(place_of(settings), cause, settings, True))
    before = overlay.service(place_of(there))
    settings = replace(there, scheduler=scheduler, real_servers=())
    change = ServiceChange(place_of(there), cause, settings, before is not None and before.emptied)
    others = tuple(each for each in overlay.services if each.place != change.place)
    return Overlay((*others, change), overlay.servers)  # its real servers' changes stay


def _without_service(
    overlay: Overlay, configured: Services, service: ServiceSettings, cause: str
) -> Overlay:
    place = place_of(service)
    if any(place_of(each) == place for each in configured):
        return overlay.with_service(ServiceChange(place, cause))
    services = tuple(each for each in overlay.services if each.place != place)
    return Overlay(services, tuple(e for e in overlay.servers if e.place.service != place))


# --- real servers


def _with_server(
    command: Command,
    wanted: Destination,
    service: ServiceSettings,
    overlay: Overlay,
    configured: Services,
    cause: str,
) -> Overlay:
    there = next(
        (r for r in service.real_servers if (r.address, r.port) == (wanted.address, wanted.port)),
        None,
    )
    if command is Command.NEW_DEST and there is not None:
        raise _refused(command, errno.EEXIST)
    if command is not Command.NEW_DEST and there is None:
        raise _refused(command, errno.ENOENT)
    place = ServerPlace(place_of(service), str(wanted.address), wanted.port)
    if command is not Command.DEL_DEST:
        _check(wanted, service)
    before = overlay.server(place) or ServerChange(place, cause)
    own = _configured(configured, overlay, place)
    real = _real_server(wanted)
    if own is not None and command is not Command.DEL_DEST and not _alike(own, real):
        words = {"dr": "-g", "nat": "-m", "tunnel": f"-i --tun-type {own.tunnel.kind}"}
        raise RefusedError(f"the configuration has it with {words[own.forward]}: say the same")
    match command:
        case Command.NEW_DEST:
            after = ServerChange(place, cause, weight=wanted.weight)
            after = after if own else replace(after, weight=None, added=real)
        case Command.SET_DEST:
            after = replace(before, cause=cause, weight=wanted.weight)
            after = after if own else replace(after, added=real)
        case _:  # one that only the overlay has is there no more when it says nothing
            after = ServerChange(place, cause, removed=own is not None)
    return overlay.with_servers([after])


def _real_server(wanted: Destination) -> RealServerSettings:
    there = RealServerSettings(str(wanted.address), wanted.address, wanted.port, wanted.weight)
    if wanted.method is not Method.TUNNEL:
        return replace(there, forward="nat" if wanted.method is Method.MASQ else "dr")
    tunnel = wanted.tunnel
    kind = KIND_NAMES[tunnel.kind]
    settings = TunnelSettings(kind, tunnel.port, tunnel.checksum is not Checksum.NONE)
    return replace(there, forward="tunnel", tunnel=settings)


def _configured(
    configured: Services, overlay: Overlay, place: ServerPlace
) -> RealServerSettings | None:
    """The one that lies under the overlay there."""
    said = overlay.service(place.service)
    if said is not None and said.emptied:
        return None
    reals = (
        real
        for service in configured
        for real in service.real_servers
        if server_place(service, real) == place
    )
    return next(reals, None)


def _alike(one: RealServerSettings, other: RealServerSettings) -> bool:
    """They are reached the same way."""
    tunnels = (one.tunnel, other.tunnel) if one.forward == "tunnel" else (None, None)
    return one.forward == other.forward and tunnels[0] == tunnels[1]


def _check(wanted: Destination, service: ServiceSettings) -> None:
    if wanted.address.version != service.address.version or wanted.address.is_multicast:
        raise _refused(Command.NEW_DEST, errno.EINVAL)
    if wanted.lower > wanted.upper or wanted.weight > MAX_WEIGHT:
        raise RefusedError("Numerical result out of range")
    if wanted.upper:
        raise RefusedError("this director knows no connection thresholds")
    if wanted.method not in METHODS.values():
        raise RefusedError("this director forwards by -g, -i or -m")
    if wanted.tunnel.checksum is Checksum.REMOTE:
        raise RefusedError("this director knows no remote checksum")
