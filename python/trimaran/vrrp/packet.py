"""The VRRP message, versions 2 and 3, IPv4 and IPv6: bytes to adverts and back.

        version 2 (RFC 3768, 2338)                    version 3 (RFC 9568 §5.1)
0       version (high half), type 1                   the same
1       virtual router id, 1-255                      the same
2       priority, 0 means "I resign"                  the same
3       number of addresses                           the same
4       authentication: 0 none, 1 PASS, 2 AH          4 reserved bits, and the high 4 of ...
5       advert interval, whole seconds                ... the interval, 1-4095 centiseconds
6-7     checksum                                      checksum
8..     addresses, 4 bytes each                       addresses, 4 or 16 bytes each
last 8  the password, zero padded; else zeros         -

Version 2 sums up the message, trailer included. Version 3 on IPv6 puts a pseudo-header before it
(RFC 8200 §8.1). On IPv4 the field is split: keepalived, FRR and MikroTik send a pseudo-header,
Cisco and Juniper the message alone: we send the former unless told otherwise, and take either.

What proves the sender (AH, auth_hmac) is wrapped around this message: seal.py.
"""

import hmac
import struct
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv6Address

from trimaran.vrrp.address import Address

PROTOCOL = 112
AUTHENTICATION_HEADER = 51  # the IP protocol of AH
GROUP = IPv4Address("224.0.0.18")
GROUP6 = IPv6Address("ff02::12")
TTL = 255
TOS = 0xC0  # internetwork control
RESIGN = 0  # the priority that says "I am leaving"
OWNER = 255

ADVERTISEMENT = 1
NO_AUTHENTICATION = 0
PASS = 1
AH = 2
PASSWORD_SIZE = 8
LONGEST_INTERVAL_CS = 0xFFF
_HEADER = struct.Struct("!BBBBHH")
_IP_HEADER = struct.Struct("!BBHHHBBH4s4s")
_PROTOCOL_AT, _AH_SIZE = 9, 24
CHECKSUM_AT = 6


class Rejection(Enum):
    """Why a datagram is not an advert for us, in the order in which it is checked."""

    TRUNCATED = "shorter than its headers say"
    DESTINATION = "not sent to where this virtual router's adverts go"
    TTL = "TTL is not as it must be: it came from too far, or not from far enough"
    VERSION = "another version of VRRP"
    ROUTER_ID = "another virtual router id"
    LENGTH = "length does not fit the number of addresses"
    CHECKSUM = "checksum is wrong"
    TYPE = "not an advertisement"
    AUTHENTICATION_TYPE = "another authentication type"
    AUTHENTICATION = "the password does not match"
    UNSIGNED = "without an authentication trailer"
    TRAILER = "its authentication trailer is malformed"
    KEY = "signed with a key that is not known here"
    STALE = "signed at a time too far from ours: are the clocks right?"
    REPLAY = "sent before: its sequence number is not a new one"
    INTERVAL = "another advert interval"
    SOURCE = "not sent by a peer"
    OWN_SOURCE = "sent from our own address"


class Checksum(Enum):
    """What a version 3 checksum on IPv4 was made over."""

    PSEUDO_HEADER = "pseudo-header and message"
    MESSAGE = "message alone"
    GROUP = "pseudo-header of the group, though sent to a peer"  # keepalived up to 1.3.6


@dataclass(frozen=True)
class Peer:
    """Another member that is reached by unicast, and how far away it may be."""

    address: Address
    min_ttl: int = 0
    max_ttl: int = 255


@dataclass(frozen=True)
class Dialect:
    """What the members of a virtual router must agree on. `interval_cs` binds version 2 only;
    no `peers`: adverts are multicast."""

    router_id: int
    version: int = 2
    ipv6: bool = False
    interval_cs: int = 100
    password: bytes | None = field(default=None, repr=False)
    peers: tuple[Peer, ...] = ()
    check_source: bool = False
    checksum: Checksum = Checksum.PSEUDO_HEADER
    ah: bool = False

    @property
    def group(self) -> Address:
        """Where multicast adverts go."""
        return GROUP6 if self.ipv6 else GROUP


@dataclass(frozen=True)
class Advert:
    """What a master says. `interval_cs` is hundreds in version 2; `checksum` is how it came."""

    priority: int
    interval_cs: int
    addresses: tuple[Address, ...]
    checksum: Checksum = field(default=Checksum.PSEUDO_HEADER, compare=False)


@dataclass(frozen=True)
class Datagram:
    """An IP datagram without its header. `ttl` is IPv6's hop limit too; `header` is IPv4's own
    (AH proves it), `trailer` what a seal took off the payload's end (IPv6 sums it up)."""

    source: Address
    destination: Address
    ttl: int
    payload: bytes
    header: bytes = field(default=b"", compare=False)
    trailer: bytes = field(default=b"", compare=False)


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071): 0 over data that contains its own."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def encode(advert: Advert, dialect: Dialect, source: Address, destination: Address) -> bytes:
    """The message, without IP header. `destination` is where it really goes."""
    version, interval = dialect.version, advert.interval_cs
    if version == 2:
        interval = _authentication_type(dialect) << 8 | interval // 100
    first = (version << 4 | ADVERTISEMENT, dialect.router_id, advert.priority)
    body = b"".join(address.packed for address in advert.addresses)
    if version == 2:
        body += bytes(PASSWORD_SIZE) if dialect.ah else padded(dialect.password)
    fields = (*first, len(advert.addresses), interval)
    bare = _HEADER.pack(*fields, 0) + body
    before = _before(dialect, dialect.checksum, source, destination, len(bare))
    return _HEADER.pack(*fields, checksum(before + bare)) + body


def unwrap(data: bytes) -> Datagram | Rejection:
    """The datagram in what a raw IPv4 socket read. What follows its total length is padding."""
    if len(data) < _IP_HEADER.size:
        return Rejection.TRUNCATED
    version_ihl, _, total, _, _, ttl, _, _, source, destination = _IP_HEADER.unpack_from(data)
    header = (version_ihl & 0x0F) * 4
    if version_ihl >> 4 != 4 or not _IP_HEADER.size <= header <= total <= len(data):
        return Rejection.TRUNCATED
    ends = IPv4Address(source), IPv4Address(destination)
    return Datagram(*ends, ttl, data[header:total], data[:header])


def router_id_of(datagram: Datagram) -> int | None:
    """Which virtual router it claims to speak for, before anything else is believed."""
    at = 1
    if (
        len(datagram.header) > _PROTOCOL_AT
        and datagram.header[_PROTOCOL_AT] == AUTHENTICATION_HEADER
    ):
        at += _AH_SIZE
    return datagram.payload[at] if len(datagram.payload) > at else None


def size_of(payload: bytes, dialect: Dialect) -> int | None:
    """How long the message at the beginning of `payload` is, by its own count of addresses."""
    if len(payload) < _HEADER.size:
        return None
    size = _HEADER.size + payload[3] * (16 if dialect.ipv6 else 4)
    return size + PASSWORD_SIZE if dialect.version == 2 else size


def seal_checksum(data: bytes, dialect: Dialect, source: Address, destination: Address) -> bytes:
    """A message, and what follows it, with the checksum over both."""
    bare = data[:CHECKSUM_AT] + b"\0\0" + data[CHECKSUM_AT + 2 :]
    before = _before(dialect, dialect.checksum, source, destination, len(bare))
    sum_ = checksum(before + bare).to_bytes(2, "big")
    return data[:CHECKSUM_AT] + sum_ + data[CHECKSUM_AT + 2 :]


def decode(datagram: Datagram, dialect: Dialect) -> Advert | Rejection:
    """The advert for this virtual router, or the first reason why it is none.

    Receive checks of RFC 3768 §7.1 and RFC 9568 §7.1 as keepalived makes them. A list of addresses
    that differs from ours is not among them: dropping for it makes two masters.
    """
    data = datagram.payload
    if len(data) < _HEADER.size:
        return Rejection.TRUNCATED
    version_type, vrid, priority, count, word, _ = _HEADER.unpack_from(data)
    version = dialect.version
    size = 16 if dialect.ipv6 else 4
    end = _HEADER.size + size * count
    if reason := _misdirected(datagram, dialect):
        return reason
    if version_type >> 4 != version:
        return Rejection.VERSION
    if vrid != dialect.router_id:
        return Rejection.ROUTER_ID
    if len(data) != (end + PASSWORD_SIZE if version == 2 else end):
        return Rejection.LENGTH
    form = _checksum_form(datagram, dialect)
    if form is None:
        return Rejection.CHECKSUM
    if version_type & 0x0F != ADVERTISEMENT:
        return Rejection.TYPE
    interval_cs = (word & 0xFF) * 100 if version == 2 else word & LONGEST_INTERVAL_CS
    if reason := _disagreement(dialect, word >> 8, data[end:], interval_cs):
        return reason
    if dialect.check_source and _peer(dialect, datagram.source) is None:
        return Rejection.SOURCE
    kind = IPv6Address if dialect.ipv6 else IPv4Address
    addresses = tuple(kind(data[at : at + size]) for at in range(_HEADER.size, end, size))
    return Advert(priority, interval_cs, addresses, form)


def _misdirected(datagram: Datagram, dialect: Dialect) -> Rejection | None:
    """Sent the wrong way, or from the wrong distance (RFC 9568 §5.1.1.3; peers may be routed)."""
    if not dialect.peers:
        if datagram.destination != dialect.group:
            return Rejection.DESTINATION
        return None if datagram.ttl == TTL else Rejection.TTL
    if datagram.destination.is_multicast:
        return Rejection.DESTINATION
    peer = _peer(dialect, datagram.source)
    if peer is not None and not peer.min_ttl <= datagram.ttl <= peer.max_ttl:
        return Rejection.TTL
    return None


def _disagreement(
    dialect: Dialect, authentication: int, trailer: bytes, interval_cs: int
) -> Rejection | None:
    """What the members of one virtual router must have in common, and this one has not."""
    if dialect.version == 3:
        # RFC 9568 erratum 8301: an interval of 0 would make everybody master at once.
        return None if interval_cs else Rejection.INTERVAL
    if authentication != _authentication_type(dialect):
        return Rejection.AUTHENTICATION_TYPE
    password = dialect.password
    by_password = password is not None and not dialect.ah  # AH was opened before (seal.py)
    if by_password and not hmac.compare_digest(trailer, padded(password)):
        return Rejection.AUTHENTICATION
    return None if interval_cs == dialect.interval_cs else Rejection.INTERVAL


def _checksum_form(datagram: Datagram, dialect: Dialect) -> Checksum | None:
    """Which kind of checksum it carries; None: a wrong one."""
    forms = [Checksum.PSEUDO_HEADER]
    if dialect.version == 3 and not dialect.ipv6:
        forms += [Checksum.MESSAGE, *([Checksum.GROUP] if dialect.peers else [])]
    data = datagram.payload + (datagram.trailer if dialect.ipv6 else b"")
    for form in forms:
        before = _before(dialect, form, datagram.source, datagram.destination, len(data))
        if checksum(before + data) == 0:
            return form
    return None


def _before(
    dialect: Dialect, form: Checksum, source: Address, destination: Address, length: int
) -> bytes:
    """What the checksum covers besides the message."""
    if dialect.ipv6:
        return source.packed + destination.packed + struct.pack("!II", length, PROTOCOL)
    if dialect.version == 2 or form is Checksum.MESSAGE:
        return b""
    to = GROUP if form is Checksum.GROUP else destination
    return source.packed + to.packed + struct.pack("!HH", PROTOCOL, length)


def _peer(dialect: Dialect, source: Address) -> Peer | None:
    return next((peer for peer in dialect.peers if peer.address == source), None)


def _authentication_type(dialect: Dialect) -> int:
    if dialect.ah:
        return AH
    return NO_AUTHENTICATION if dialect.password is None else PASS


def padded(password: bytes | None) -> bytes:
    """A password of PASS or AH as they have it: 8 bytes."""
    return (password or b"")[:PASSWORD_SIZE].ljust(PASSWORD_SIZE, b"\0")
