"""A filter in the kernel (classic BPF) that lets only adverts of our own virtual routers come up.

Other members' floods, strangers' virtual routers and what came over a router cost no wake-up. What
is right so far is looked at in full afterwards: this only spares, it proves nothing."""

import ctypes
import socket
from collections.abc import Iterable, Iterator

from trimaran.vrrp.packet import TTL
from trimaran.vrrp.settings import Lane

_SO_ATTACH_FILTER = 26
_LD_B, _LD_B_X, _LDX_MSH = 0x30, 0x50, 0xB1  # A = byte; A = byte at X + k; X = length of IP header
_JEQ, _JGE, _JGT = 0x15, 0x35, 0x25
_RET = 0x06
_NETWORK = 0xFFF00000  # SKF_NET_OFF: from the IP header on, also where only the payload is seen
_IPV4_TTL, _IPV4_DESTINATION, _IPV6_HOPS, _IPV6_DESTINATION = 8, 16, 7, 24
_AH_SIZE = 24
_EVERYTHING = 0xFFFFFFFF

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, k


def program(lane: Lane, router_ids: Iterable[int]) -> list[Instruction]:
    """Passes what claims to be of one of these virtual routers and, if it came by multicast, was
    not forwarded (RFC 9568 §5.1.1.3; peers' TTL is each router's affair)."""
    return [*_from_here(lane), *_ours(lane, sorted(set(router_ids))), (_RET, 0, 0, 0)]


def _from_here(lane: Lane) -> Iterator[Instruction]:
    if lane == "ipv6":
        destination, hops = _NETWORK + _IPV6_DESTINATION, _NETWORK + _IPV6_HOPS
        yield (_LD_B, 0, 0, destination)
        yield (_JEQ, 0, 3, 0xFF)
    else:
        destination, hops = _IPV4_DESTINATION, _IPV4_TTL
        yield (_LD_B, 0, 0, destination)
        yield (_JGE, 0, 3, 224)
    yield (_LD_B, 0, 0, hops)
    yield (_JEQ, 1, 0, TTL)
    yield (_RET, 0, 0, 0)


def _ours(lane: Lane, router_ids: list[int]) -> Iterator[Instruction]:
    if lane == "ipv6":
        yield (_LD_B, 0, 0, 1)
    else:
        yield (_LDX_MSH, 0, 0, 0)
        yield (_LD_B_X, 0, 0, 1 + (_AH_SIZE if lane == "ah" else 0))
    for low, high in _ranges(router_ids):
        yield (_JGE, 0, 2, low)
        yield (_JGT, 1, 0, high)
        yield (_RET, 0, 0, _EVERYTHING)


def _ranges(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Sorted numbers as inclusive ranges."""
    start = last = None
    for number in numbers:
        if start is None or last is None:
            start = number
        elif number != last + 1:
            yield start, last
            start = number
        last = number
    if start is not None and last is not None:
        yield start, last


class _SockFilter(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8),
                ("k", ctypes.c_uint32))  # fmt: skip


class _SockFprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def attach(owner: socket.socket, instructions: list[Instruction]) -> None:
    """From now on the socket receives only what the program passes. Raises OSError."""
    rows = (_SockFilter * len(instructions))(*(_SockFilter(*each) for each in instructions))
    program_ = _SockFprog(len(instructions), ctypes.addressof(rows))
    owner.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(program_))
