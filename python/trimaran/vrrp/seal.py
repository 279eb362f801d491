"""What proves who sent an advert, beyond PASS: AH of version 2, and keepalived's auth_hmac.

AH (RFC 2402, as keepalived speaks it; IPv4 alone): a header of 24 bytes before the message,
    protocol 51. Its SPI is the source address; its sequence grows by one per advert and is shared:
    who hears another's takes it up, so the next master goes on from there. The check value is
    HMAC-MD5 (12 bytes) over the IP header with TOS, fragment and checksum zeroed (and the TTL for
    peers, who may be routed), AH, and message. The IP header is ours to write: its id is covered.
auth_hmac (2.4.2 and later; both versions and families): a trailer of 28 bytes after the message:

    0 type 1 | 1 key id | 2-3 zero | 4-7 unix seconds | 8-9 1/65536 s | 10-11 counter | 12-27 HMAC

    HMAC-SHA256, cut to 16 bytes, over a pseudo-header (family 4 or 6, version, virtual router id,
    0, source padded to 16 bytes), the message with a checksum of 0, the trailer, 16 zero bytes.
    The checksum covers the trailer on IPv6 alone (there the kernel makes keepalived's).
    A sender's 64 bits of time and counter must grow; in `time` mode they must be near our clock,
    too, and a mark that is older than the window is forgotten (a clock was set back).

Whoever proved to have the key counts for replay even where the advert is rejected afterwards.
"""

import hmac
import struct
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Literal

from trimaran.vrrp.address import Address
from trimaran.vrrp.packet import (
    AUTHENTICATION_HEADER,
    CHECKSUM_AT,
    PROTOCOL,
    TOS,
    Datagram,
    Dialect,
    Rejection,
    padded,
    seal_checksum,
    size_of,
)

_AH = struct.Struct("!BBHII12s")  # next header, length in words - 2, 0, SPI, sequence, check value
_AH_WORDS = 4
_ICV = 12
_IP_HEADER = struct.Struct("!BBHHHBBH4s4s")
_TRAILER = struct.Struct("!BBHIHH16s")
_SHA256 = 1
_HMAC = 16
_SENDERS = 16  # whose marks are remembered; only who has the key takes a place
_MASK = (1 << 64) - 1

Mode = Literal["enforce", "permissive", "receive-only"]
Saying = list[tuple[bytes, Address]]  # what is sent to whom


@dataclass(frozen=True)
class HmacKey:
    """A shared key of 32 to 64 bytes, and the number that trailers call it by (1-255)."""

    number: int
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class HmacSettings:
    """`window_s` None: only growth counts, no clock (monotonic). Modes: `receive-only` signs
    nothing and takes adverts without a trailer, `permissive` signs, `enforce` takes no other."""

    keys: tuple[HmacKey, ...]
    active: int
    window_s: int | None = 5
    mode: Mode = "enforce"


class AhSeal:
    """AH of one virtual router."""

    def __init__(self, dialect: Dialect) -> None:
        self._key = padded(dialect.password)
        self._routed = bool(dialect.peers)
        self._sequence = 0
        self._ip_id = 0

    def close(self, saying: Saying, source: Address, ttl: int, wall: float) -> Saying:
        """Whole IP datagrams."""
        self._sequence += 1
        return [(self._datagram(message, source, to, ttl), to) for message, to in saying]

    def _datagram(self, message: bytes, source: Address, destination: Address, ttl: int) -> bytes:
        self._ip_id = self._ip_id % 0xFFFF + 1  # for 0 the kernel would choose another
        size = _IP_HEADER.size + _AH.size + len(message)
        ends = source.packed, destination.packed
        header = _IP_HEADER.pack(
            0x45, TOS, size, self._ip_id, 0, ttl, AUTHENTICATION_HEADER, 0, *ends
        )
        spi = int.from_bytes(source.packed, "big")
        bare = _AH.pack(PROTOCOL, _AH_WORDS, 0, spi, self._sequence, bytes(_ICV))
        return header + bare[:-_ICV] + self._check_value(header, bare, message) + message

    def open(self, datagram: Datagram, wall: float) -> Datagram | Rejection:
        """The datagram without its AH. `wall` is not looked at."""
        data = datagram.payload
        if len(data) < _AH.size:
            return Rejection.TRUNCATED
        following, words, _, spi, sequence, check_value = _AH.unpack_from(data)
        if following != PROTOCOL or words != _AH_WORDS:
            return Rejection.AUTHENTICATION_TYPE
        message = data[_AH.size :]
        wanted = self._check_value(datagram.header, data[: _AH.size - _ICV] + bytes(_ICV), message)
        if not hmac.compare_digest(check_value, wanted):
            return Rejection.AUTHENTICATION
        if spi != int(datagram.source):
            return Rejection.AUTHENTICATION
        if sequence <= self._sequence:
            return Rejection.REPLAY
        self._sequence = sequence
        return replace(datagram, payload=message)

    def _check_value(self, header: bytes, bare: bytes, message: bytes) -> bytes:
        fixed = bytearray(header)
        fixed[1:2], fixed[6:8], fixed[10:12] = b"\0", b"\0\0", b"\0\0"
        if self._routed:
            fixed[8] = 0
        return hmac.digest(self._key, bytes(fixed) + bare + message, "md5")[:_ICV]


class HmacSeal:
    """auth_hmac of one virtual router. `wall` is the time of day, seconds since 1970."""

    def __init__(self, settings: HmacSettings, dialect: Dialect) -> None:
        self._settings, self._dialect = settings, dialect
        self._keys = {key.number: key.secret for key in settings.keys}
        self._sent = 0
        self._marks: OrderedDict[Address, int] = OrderedDict()

    def close(self, saying: Saying, source: Address, ttl: int, wall: float) -> Saying:
        """The messages with their trailer: one signature, for they differ in the checksum alone."""
        if self._settings.mode == "receive-only":
            return saying
        self._sent = self._next(wall)
        stamp = self._sent >> 32, self._sent >> 16 & 0xFFFF, self._sent & 0xFFFF
        bare = _TRAILER.pack(_SHA256, self._settings.active, 0, *stamp, bytes(_HMAC))
        trailer = bare[:-_HMAC] + self._digest(self._settings.active, source, saying[0][0], bare)
        signed = [(message + trailer, to) for message, to in saying]
        if not self._dialect.ipv6:
            return signed
        return [(seal_checksum(each, self._dialect, source, to), to) for each, to in signed]

    def open(self, datagram: Datagram, wall: float) -> Datagram | Rejection:
        """The datagram with its trailer put aside."""
        data, end = datagram.payload, size_of(datagram.payload, self._dialect)
        if end is None:
            return Rejection.TRUNCATED
        if len(data) != end + _TRAILER.size:
            enforced = self._settings.mode == "enforce"
            return Rejection.UNSIGNED if enforced else datagram
        message, trailer = data[:end], data[end:]
        if reason := self._wrong(message, trailer, datagram.source, wall):
            return reason
        return replace(datagram, payload=message, trailer=trailer)

    def _wrong(
        self, message: bytes, trailer: bytes, source: Address, wall: float
    ) -> Rejection | None:
        kind, number, reserved, seconds, fraction, counter, digest = _TRAILER.unpack(trailer)
        if kind != _SHA256 or reserved:
            return Rejection.TRAILER
        if self._far(seconds, wall):  # before the costly part: this only rejects
            return Rejection.STALE
        if number not in self._keys:
            return Rejection.KEY
        bare = trailer[:-_HMAC] + bytes(_HMAC)
        if not hmac.compare_digest(digest, self._digest(number, source, message, bare)):
            return Rejection.AUTHENTICATION
        sequence = seconds << 32 | fraction << 16 | counter
        mark = self._marks.get(source)
        if mark is not None and not self._far(mark >> 32, wall) and not _after(sequence, mark):
            return Rejection.REPLAY
        self._marks[source] = sequence
        self._marks.move_to_end(source)
        if len(self._marks) > _SENDERS:
            self._marks.popitem(last=False)
        return None

    def _next(self, wall: float) -> int:
        """The clock, or one more than the last: it always grows. But where the clock was set back
        by more than the window, nobody would believe us any more."""
        clock = (int(wall * 65536) << 16) & _MASK
        window = self._settings.window_s
        ahead = _signed32((self._sent >> 32) - (clock >> 32))
        if _after(clock, self._sent) or (window is not None and ahead > window):
            return clock
        return (self._sent + 1) & _MASK

    def _far(self, seconds: int, wall: float) -> bool:
        window = self._settings.window_s
        return window is not None and abs(_signed32(int(wall) - seconds)) > window

    def _digest(self, number: int, source: Address, message: bytes, bare: bytes) -> bytes:
        dialect = self._dialect
        family = 6 if dialect.ipv6 else 4
        before = bytes([family, dialect.version, dialect.router_id, 0])
        before += source.packed.ljust(16, b"\0")
        summed = message[:CHECKSUM_AT] + b"\0\0" + message[CHECKSUM_AT + 2 :]
        return hmac.digest(self._keys[number], before + summed + bare, "sha256")[:_HMAC]


class NoSeal:
    """Nothing is proved beyond the message itself."""

    def close(self, saying: Saying, source: Address, ttl: int, wall: float) -> Saying:
        """The messages as they are."""
        return saying

    def open(self, datagram: Datagram, wall: float) -> Datagram | Rejection:
        """The datagram."""
        return datagram


Seal = AhSeal | HmacSeal | NoSeal


def _after(one: int, other: int) -> bool:
    """Serial number arithmetic (RFC 1982) over 64 bits: 0 < one - other < 2^63."""
    return 0 < (one - other) & _MASK < 1 << 63


def _signed32(value: int) -> int:
    return ((value + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)
