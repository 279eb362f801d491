"""Generic netlink's messages of the family IPVS: a Message to bytes, and bytes to a Message.

What is read is what is written: the commands' requests and the kernel's answers have one form. The
order of attributes is ipvsadm's, so that our requests can be held against its recorded ones.
Framing and sockets are in `system.generic_netlink`.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

from trimaran.director.ipvs import (
    WHOLE_V4,
    WHOLE_V6,
    Address,
    Checksum,
    Counters,
    Daemon,
    Destination,
    Info,
    Listen,
    Load,
    Mark,
    Method,
    Service,
    ServiceFlag,
    ServiceKey,
    SyncState,
    Timeouts,
    Tunnel,
    TunnelKind,
)

FAMILY = "IPVS"
VERSION = 1
AF_INET, AF_INET6 = 2, 10
NESTED = 0x8000
TYPE_MASK = 0x3FFF
GENERAL_HEADER = struct.Struct("=BBH")  # command, version, reserved
ATTRIBUTE = struct.Struct("=HH")  # length with this header, type
COUNTERS = ("connections", "in_packets", "out_packets", "in_bytes", "out_bytes")
ALL_COUNTERS = COUNTERS + tuple(f"{name}_s" for name in COUNTERS)
NATIVE: Literal["little", "big"] = "little" if struct.pack("=H", 1) == b"\1\0" else "big"
WIDE = {4, 5}  # in the 32-bit statistics, in_bytes and out_bytes have 64 bits all the same


class Command(IntEnum):
    """IPVS_CMD_*; SET_INFO is GET_INFO's answer."""

    NEW_SERVICE = 1
    SET_SERVICE = 2
    DEL_SERVICE = 3
    GET_SERVICE = 4
    NEW_DEST = 5
    SET_DEST = 6
    DEL_DEST = 7
    GET_DEST = 8
    NEW_DAEMON = 9
    DEL_DAEMON = 10
    GET_DAEMON = 11
    SET_CONFIG = 12
    GET_CONFIG = 13
    SET_INFO = 14
    GET_INFO = 15
    ZERO = 16
    FLUSH = 17


class MalformedError(ValueError):
    """Not a message of this family."""


@dataclass(frozen=True)
class Message:
    """A command and what goes with it. `key` stands for a service of which nothing else is told;
    `counters` are the service's, or the destination's where there is one."""

    command: Command
    service: Service | None = None
    key: ServiceKey | None = None
    destination: Destination | None = None
    load: Load | None = None
    counters: Counters | None = None
    daemon: Daemon | None = None
    timeouts: Timeouts | None = None
    info: Info | None = None


def encode(message: Message) -> bytes:
    """What follows nlmsghdr."""
    parts = [GENERAL_HEADER.pack(message.command, VERSION, 0)]
    service_counters = message.counters if message.destination is None else None
    if message.service is not None:
        parts.append(_nest(1, _service(message.service) + _statistics(10, 12, service_counters)))
    elif message.key is not None:
        parts.append(_nest(1, _key(message.key)))
    if message.destination is not None:
        body = _destination(message.destination) + _load(message.load)
        parts.append(_nest(2, body + _statistics(10, 12, message.counters)))
    if message.daemon is not None:
        parts.append(_nest(3, _daemon(message.daemon)))
    if message.timeouts is not None:
        given = (message.timeouts.tcp_s, message.timeouts.tcp_fin_s, message.timeouts.udp_s)
        parts += [_u32(number, value) for number, value in enumerate(given, 4)]
    if message.info is not None:
        parts += [_u32(1, message.info.version), _u32(2, message.info.table_size)]
    return b"".join(parts)


def decode(payload: bytes) -> Message:
    """The other way round. Raises MalformedError."""
    try:
        return _decode(payload)
    except (struct.error, KeyError, ValueError) as error:
        raise MalformedError(f"not a message of IPVS: {error!r}") from error


def _decode(payload: bytes) -> Message:
    command = Command(GENERAL_HEADER.unpack_from(payload)[0])
    attributes = _attributes(payload[GENERAL_HEADER.size :])
    if command is Command.SET_INFO:
        info = Info(_number(attributes[1]), _number(attributes[2]))
        return Message(command, info=info)
    service, key, counters = None, None, None
    version = 4
    if 1 in attributes:
        fields = _attributes(attributes[1])
        key = _read_key(fields)
        version = key.version
        if 6 in fields or 7 in fields:
            service, key = _read_service(key, fields), None
        counters = _read_counters(fields)
    destination = load = None
    if 2 in attributes:
        fields = _attributes(attributes[2])
        destination, load = _read_destination(fields, version), _read_load(fields)
        counters = _read_counters(fields)
    daemon = _read_daemon(_attributes(attributes[3])) if 3 in attributes else None
    timeouts = None
    if 4 in attributes:
        timeouts = Timeouts(*(_number(attributes.get(number, b"")) for number in (4, 5, 6)))
    return Message(command, service, key, destination, load, counters, daemon, timeouts)


# --- services


def _key(key: ServiceKey) -> bytes:
    family = _u16(1, AF_INET if key.version == 4 else AF_INET6)
    if isinstance(key, Mark):
        return family + _u32(5, key.mark)
    return family + _u16(2, key.protocol) + _union(3, key.address) + _port(4, key.port)


def _read_key(fields: dict[int, bytes]) -> ServiceKey:
    version = {AF_INET: 4, AF_INET6: 6}[_number(fields[1])]
    if 5 in fields:
        return Mark(_number(fields[5]), version)
    return Listen(_number(fields[2]), _read_union(fields[3], version), _read_port(fields[4]))


def _service(service: Service) -> bytes:
    parts = [_key(service.key), _string(6, service.scheduler)]
    if service.engine:
        parts.append(_string(11, service.engine))
    parts.append(_attribute(7, struct.pack("=II", service.flags, 0xFFFFFFFF)))
    parts.append(_u32(8, service.timeout_s))
    if service.key.version == 4:
        netmask = WHOLE_V4 if service.netmask is None else service.netmask
        parts.append(_attribute(9, struct.pack("!I", netmask)))
    else:
        parts.append(_u32(9, WHOLE_V6 if service.netmask is None else service.netmask))
    return b"".join(parts)


def _read_service(key: ServiceKey, fields: dict[int, bytes]) -> Service:
    netmask: int | None = None
    if 9 in fields:
        (netmask,) = struct.unpack("!I" if key.version == 4 else "=I", fields[9])
        if netmask == (WHOLE_V4 if key.version == 4 else WHOLE_V6):
            netmask = None
    known = sum(ServiceFlag)  # the kernel's own HASHED is left out
    return Service(
        key,
        _text(fields.get(6, b"")),
        ServiceFlag(struct.unpack_from("=I", fields[7])[0] & known if 7 in fields else 0),
        _number(fields[8]) if 8 in fields else 0,
        netmask,
        _text(fields.get(11, b"")),
    )


# --- destinations


def _destination(destination: Destination) -> bytes:
    tunnel = destination.tunnel
    family = AF_INET if destination.address.version == 4 else AF_INET6
    return b"".join(
        (
            _u16(11, family),
            _union(1, destination.address),
            _port(2, destination.port),
            _u32(3, destination.method),
            _u32(4, destination.weight),
            _attribute(13, bytes([tunnel.kind])),
            _port(14, tunnel.port),
            _u16(15, tunnel.checksum),
            _u32(5, destination.upper),
            _u32(6, destination.lower),
        )
    )


def _read_destination(fields: dict[int, bytes], version: int) -> Destination:
    if 11 in fields:
        version = {AF_INET: 4, AF_INET6: 6}[_number(fields[11])]
    tunnel = Tunnel()
    if 13 in fields:
        kind, checksum = TunnelKind(fields[13][0]), Checksum(_number(fields[15]))
        tunnel = Tunnel(kind, _read_port(fields[14]), checksum)
    return Destination(
        _read_union(fields[1], version),
        _read_port(fields[2]),
        Method(_number(fields[3]) & 7),
        _number(fields[4]),
        _number(fields[5]),
        _number(fields[6]),
        tunnel,
    )


def _load(load: Load | None) -> bytes:
    if load is None:
        return b""
    return _u32(7, load.active) + _u32(8, load.inactive) + _u32(9, load.persistent)


def _read_load(fields: dict[int, bytes]) -> Load | None:
    return Load(*(_number(fields[number]) for number in (7, 8, 9))) if 7 in fields else None


# --- statistics: the 32-bit ones wrap, so the 64-bit ones are read where the kernel has them


def _statistics(narrow: int, wide: int, counters: Counters | None) -> bytes:
    if counters is None:
        return b""
    values = [getattr(counters, name) for name in ALL_COUNTERS]
    short = [
        struct.pack("=Q", value) if number in WIDE else struct.pack("=I", value & 0xFFFFFFFF)
        for number, value in enumerate(values, 1)
    ]
    long = [struct.pack("=Q", value) for value in values]
    return b"".join(
        _attribute(kind, b"".join(_attribute(n, value) for n, value in enumerate(rows, 1)))
        for kind, rows in ((narrow, short), (wide, long))
    )


def _read_counters(fields: dict[int, bytes]) -> Counters | None:
    body = fields.get(12, fields.get(10))
    if body is None:
        return None
    rows = _attributes(body)
    return Counters(*(_number(rows[number]) for number in range(1, len(ALL_COUNTERS) + 1)))


# --- synchronisation daemons


def _daemon(daemon: Daemon) -> bytes:
    parts = [_u32(1, daemon.state), _string(2, daemon.interface), _u32(3, daemon.sync_id)]
    if daemon.maximum_length:
        parts.append(_u16(4, daemon.maximum_length))
    if daemon.port:
        parts.append(_u16(7, daemon.port))
    if daemon.ttl:
        parts.append(_attribute(8, bytes([daemon.ttl])))
    if daemon.group is not None:
        number = 5 if daemon.group.version == 4 else 6
        parts.append(_attribute(number, daemon.group.packed))
    return b"".join(parts)


def _read_daemon(fields: dict[int, bytes]) -> Daemon:
    group: Address | None = None
    if 5 in fields:
        group = IPv4Address(fields[5])
    elif 6 in fields:
        group = IPv6Address(fields[6])
    return Daemon(
        SyncState(_number(fields[1])),
        _text(fields[2]),
        _number(fields[3]),
        _number(fields.get(4, b"")),
        group,
        _number(fields.get(7, b"")),
        _number(fields.get(8, b"")),
    )


# --- attributes


def _attribute(kind: int, value: bytes) -> bytes:
    return ATTRIBUTE.pack(4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _nest(kind: int, value: bytes) -> bytes:
    return _attribute(kind | NESTED, value)


def _attributes(data: bytes) -> dict[int, bytes]:
    """The values by type. Raises ValueError where a length lies."""
    found: dict[int, bytes] = {}
    while len(data) >= 4:
        length, kind = ATTRIBUTE.unpack_from(data)
        if not 4 <= length <= len(data):
            raise ValueError(f"an attribute of {length} bytes where {len(data)} are left")
        found[kind & TYPE_MASK] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def _u16(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=H", value))


def _u32(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))


def _port(kind: int, port: int) -> bytes:
    return _attribute(kind, struct.pack("!H", port))


def _string(kind: int, text: str) -> bytes:
    return _attribute(kind, text.encode() + b"\0")


def _union(kind: int, address: Address) -> bytes:
    """An address in the kernel's union of both families: 16 bytes."""
    return _attribute(kind, address.packed.ljust(16, b"\0"))


def _number(value: bytes) -> int:
    """Of any width, in the machine's order."""
    return int.from_bytes(value, NATIVE)


def _read_port(value: bytes) -> int:
    return int.from_bytes(value, "big")


def _text(value: bytes) -> str:
    return value.split(b"\0", 1)[0].decode()


def _read_union(value: bytes, version: int) -> Address:
    return IPv4Address(value[:4]) if version == 4 else IPv6Address(value[:16])
