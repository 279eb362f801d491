"""The VRRPv2 message on IPv4: bytes to adverts and back.

0       version 2 (high half), type 1      RFC 3768 §5.1
1       virtual router id, 1-255           §5.3.3
2       priority, 0 means "I resign"       §5.3.4
3       number of addresses
4       authentication: 0 none, 1 PASS     RFC 2338 §5.3.6
5       advert interval, whole seconds
6-7     checksum over the whole message, the 8 trailing bytes included, no pseudo-header
8..     addresses, 4 bytes each
last 8  the password, zero padded; zeros when there is none
"""

import hmac
import struct
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address

PROTOCOL = 112
GROUP = IPv4Address("224.0.0.18")
TTL = 255
TOS = 0xC0  # internetwork control
RESIGN = 0  # the priority that says "I am leaving"
OWNER = 255

VERSION_AND_TYPE = 0x21
NO_AUTHENTICATION = 0
PASS = 1
PASSWORD_SIZE = 8
_HEADER = struct.Struct("!BBBBBBH")
_IP_HEADER = struct.Struct("!BBHHHBBH4s4s")


class Rejection(Enum):
    """Why a datagram is not an advert for us, in the order in which it is checked."""

    TRUNCATED = "shorter than its headers say"
    DESTINATION = "not sent to 224.0.0.18"
    TTL = "TTL is not 255: it crossed a router"
    VERSION = "another version of VRRP"
    ROUTER_ID = "another virtual router id"
    LENGTH = "length does not fit the number of addresses"
    CHECKSUM = "checksum is wrong"
    TYPE = "not an advertisement"
    AUTHENTICATION_TYPE = "another authentication type"
    AUTHENTICATION = "the password does not match"
    INTERVAL = "another advert interval"
    OWN_SOURCE = "sent from our own address"


@dataclass(frozen=True)
class Advert:
    """What a master says. `interval_s` is whole seconds; `password` None: no authentication."""

    router_id: int
    priority: int
    interval_s: int
    addresses: tuple[IPv4Address, ...]
    password: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Datagram:
    """An IPv4 datagram without its header."""

    source: IPv4Address
    destination: IPv4Address
    ttl: int
    payload: bytes


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071): 0 over data that contains its own."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def encode(advert: Advert) -> bytes:
    """The message, without IP header."""
    authentication = NO_AUTHENTICATION if advert.password is None else PASS
    fields = (
        VERSION_AND_TYPE, advert.router_id, advert.priority, len(advert.addresses),
        authentication, advert.interval_s,
    )  # fmt: skip
    body = b"".join(address.packed for address in advert.addresses) + _padded(advert.password)
    return _HEADER.pack(*fields, checksum(_HEADER.pack(*fields, 0) + body)) + body


def unwrap(data: bytes) -> Datagram | Rejection:
    """The datagram in what a raw socket read. What follows its total length is padding."""
    if len(data) < _IP_HEADER.size:
        return Rejection.TRUNCATED
    version_ihl, _, total, _, _, ttl, _, _, source, destination = _IP_HEADER.unpack_from(data)
    header = (version_ihl & 0x0F) * 4
    if version_ihl >> 4 != 4 or not _IP_HEADER.size <= header <= total <= len(data):
        return Rejection.TRUNCATED
    return Datagram(IPv4Address(source), IPv4Address(destination), ttl, data[header:total])


def router_id_of(datagram: Datagram) -> int | None:
    """Which virtual router it claims to speak for, before anything else is believed."""
    return datagram.payload[1] if len(datagram.payload) >= 2 else None


def decode(
    datagram: Datagram, *, router_id: int, interval_s: int, password: bytes | None
) -> Advert | Rejection:
    """The advert for this virtual router, or the first reason why it is none.

    Receive checks of RFC 3768 §7.1 as keepalived makes them. A list of addresses that differs
    from ours is not among them: dropping for it makes two masters.
    """
    data = datagram.payload
    if len(data) < _HEADER.size:
        return Rejection.TRUNCATED
    version_type, vrid, priority, count, authentication, interval, _ = _HEADER.unpack_from(data)
    end = _HEADER.size + 4 * count
    checks = (
        (Rejection.DESTINATION, lambda: datagram.destination == GROUP),
        (Rejection.TTL, lambda: datagram.ttl == TTL),
        (Rejection.VERSION, lambda: version_type >> 4 == VERSION_AND_TYPE >> 4),
        (Rejection.ROUTER_ID, lambda: vrid == router_id),
        (Rejection.LENGTH, lambda: len(data) == end + PASSWORD_SIZE),
        (Rejection.CHECKSUM, lambda: checksum(data) == 0),
        (Rejection.TYPE, lambda: version_type & 0x0F == VERSION_AND_TYPE & 0x0F),
        (
            Rejection.AUTHENTICATION_TYPE,
            lambda: authentication == (NO_AUTHENTICATION if password is None else PASS),
        ),
        (
            Rejection.AUTHENTICATION,
            lambda: password is None or hmac.compare_digest(data[end:], _padded(password)),
        ),
        (Rejection.INTERVAL, lambda: interval == interval_s),
    )
    for reason, holds in checks:
        if not holds():
            return reason
    addresses = tuple(IPv4Address(data[at : at + 4]) for at in range(_HEADER.size, end, 4))
    return Advert(vrid, priority, interval, addresses, password)


def _padded(password: bytes | None) -> bytes:
    return (password or b"")[:PASSWORD_SIZE].ljust(PASSWORD_SIZE, b"\0")
