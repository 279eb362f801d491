"""The BFD control packet (RFC 5880 §4.1), without authentication.

0   version 1 (3 bits), diagnostic (5)     8   my discriminator
1   state (2), P F C A D M                 12  your discriminator
2   detect multiplier                      16  desired min TX interval, microseconds
3   length                                 20  required min RX interval; 24 min echo RX (0: none)
"""

import struct
from dataclasses import dataclass
from enum import Enum, IntEnum

PORT = 3784  # RFC 5881 §4, single hop
TTL = 255
_PACKET = struct.Struct("!BBBBIIIII")
_VERSION = 1
_POLL, _FINAL, _AUTHENTICATION, _DEMAND, _MULTIPOINT = 0x20, 0x10, 0x04, 0x02, 0x01


class State(IntEnum):
    """As on the wire."""

    ADMIN_DOWN = 0
    DOWN = 1
    INIT = 2
    UP = 3


class Diagnostic(IntEnum):
    """Why the session last went down; those that are set here."""

    NONE = 0
    EXPIRED = 1
    NEIGHBOUR_DOWN = 3
    ADMIN_DOWN = 7


class BfdRejection(Enum):
    """Why a datagram is no control packet for a session, in the order of RFC 5880 §6.8.6."""

    TRUNCATED = "shorter than it says, or than a control packet is"
    VERSION = "another version of BFD"
    MULTIPLIER = "the detect multiplier is 0"
    MULTIPOINT = "the multipoint bit is set"
    DISCRIMINATOR = "a discriminator is 0 that must not be, or is not ours"
    AUTHENTICATION = "authenticated, and we are not"


@dataclass(frozen=True)
class ControlPacket:
    """One side's word. Intervals in microseconds."""

    state: State
    multiplier: int
    mine: int
    yours: int
    desired_min_tx_us: int
    required_min_rx_us: int
    diagnostic: int = 0
    poll: bool = False
    final: bool = False
    demand: bool = False

    def encode(self) -> bytes:
        """The UDP payload."""
        flags = _POLL * self.poll | _FINAL * self.final | _DEMAND * self.demand
        return _PACKET.pack(
            _VERSION << 5 | self.diagnostic, self.state << 6 | flags, self.multiplier,
            _PACKET.size, self.mine, self.yours, self.desired_min_tx_us,
            self.required_min_rx_us, 0,
        )  # fmt: skip


def decode(data: bytes, ours: int) -> ControlPacket | BfdRejection:
    """The packet for the session with the discriminator `ours`, or the first reason why none."""
    if len(data) < _PACKET.size:
        return BfdRejection.TRUNCATED
    first, second, multiplier, length, mine, yours, tx, rx, _ = _PACKET.unpack_from(data)
    if first >> 5 != _VERSION:
        return BfdRejection.VERSION
    if not _PACKET.size <= length <= len(data):
        return BfdRejection.TRUNCATED
    if multiplier == 0:
        return BfdRejection.MULTIPLIER
    if second & _MULTIPOINT:
        return BfdRejection.MULTIPOINT
    state = State(second >> 6)
    unknown = yours == 0 and state in (State.ADMIN_DOWN, State.DOWN)
    if mine == 0 or (yours != ours and not unknown):
        return BfdRejection.DISCRIMINATOR
    if second & _AUTHENTICATION:
        return BfdRejection.AUTHENTICATION
    return ControlPacket(
        state, multiplier, mine, yours, tx, rx, first & 0x1F,
        bool(second & _POLL), bool(second & _FINAL), bool(second & _DEMAND),
    )  # fmt: skip
